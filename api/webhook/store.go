package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

const (
	storeFile     = "webhooks.json"
	maxStoreBytes = 1 << 20
)

// store is the content of the file.
type store struct {
	Webhooks []Registration `json:"webhooks"`
}

// load reads the webhooks that are kept in dir; none when there is no directory or no file.
func load(dir string) ([]Registration, error) {
	if dir == "" {
		return nil, nil
	}
	path := filepath.Join(dir, storeFile)
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("webhooks: %w", err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxStoreBytes))
	if err != nil {
		return nil, fmt.Errorf("webhooks: %w", err)
	}
	registrations, err := decode(text)
	if err != nil {
		return nil, fmt.Errorf("webhooks: %s: %w", path, err)
	}
	return registrations, nil
}

// decode parses the content of the file and refuses what Add would never have written. Addresses are judged when something is
// sent: the rule may have changed since.
func decode(text []byte) ([]Registration, error) {
	var content store
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&content); err != nil {
		return nil, fmt.Errorf("not readable: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one JSON value")
	}
	seen := map[string]bool{}
	for i, r := range content.Webhooks {
		if r.ID == "" || seen[r.ID] {
			return nil, fmt.Errorf("webhooks[%d]: id is missing or there twice", i)
		}
		seen[r.ID] = true
		if _, err := receiverHost(r.URL); err != nil {
			return nil, fmt.Errorf("webhooks[%d]: url: %w", i, err)
		}
		if _, err := ParseSecret(string(r.Secret)); err != nil {
			return nil, fmt.Errorf("webhooks[%d]: %w", i, err)
		}
		if slices.Contains(r.Events, "") {
			return nil, fmt.Errorf("webhooks[%d]: empty event type", i)
		}
	}
	return content.Webhooks, nil
}

// save replaces the file in one step, readable by its owner alone, since it holds the secrets.
func save(dir string, registrations []Registration) error {
	if dir == "" {
		return nil
	}
	text, err := json.MarshalIndent(store{Webhooks: registrations}, "", "  ")
	if err != nil {
		return fmt.Errorf("webhooks: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("webhooks: %w", err)
	}
	if err := replace(filepath.Join(dir, storeFile), append(text, '\n')); err != nil {
		return fmt.Errorf("webhooks: %w", err)
	}
	return nil
}

// replace writes a new file beside the old one, brings it to the disk, and gives it the old one's name.
func replace(path string, text []byte) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), storeFile+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	_, err = file.Write(text)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}
