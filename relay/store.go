package relay

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

const storeName = "relays.json"

// store keeps orders in a directory, or nowhere when dir is empty.
type store struct {
	dir string
	mu  sync.Mutex // held over a save, so that an older one does not win
}

// load reads the orders of the last run. A file that cannot be read is an error: to start without the relays in it would lose them at the next save.
func (s *store) load() ([]Order, error) {
	if s.dir == "" {
		return nil, nil
	}
	raw, err := os.ReadFile(filepath.Join(s.dir, storeName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("relays of last run: %w", err)
	}
	var orders []Order
	if err := decodeStrict(raw, &orders); err != nil {
		return nil, fmt.Errorf("relays of last run: %s: %w", filepath.Join(s.dir, storeName), err)
	}
	for i, o := range orders {
		orders[i] = o.withDefaults()
		if err := orders[i].check(); err != nil {
			return nil, fmt.Errorf("relays of last run: %s: relay %s: %w", filepath.Join(s.dir, storeName), o.ID, err)
		}
	}
	return orders, nil
}

// save replaces the file as a whole, so that a crash leaves the old one or the new one.
func (s *store) save(orders []Order) error {
	if s.dir == "" {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	raw, err := json.MarshalIndent(orders, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	file, err := os.CreateTemp(s.dir, storeName+".*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	_, err = file.Write(append(raw, '\n'))
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), filepath.Join(s.dir, storeName))
}
