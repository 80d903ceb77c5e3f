package webhook

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRestored(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	rec := newReceiver(t, nil)
	cfg := Config{Dir: dir, Rule: Rule{AllowPrivate: true}}
	s, err := Open(cfg)
	require.NoError(t, err)
	first, second := add(t, s, rec.URL, "publisher.live"), add(t, s, rec.URL+"/second")
	third := add(t, s, rec.URL+"/third")
	require.NoError(t, s.Remove(second.ID))
	closeNow(s)

	info, err := os.Stat(filepath.Join(dir, storeFile))
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), info.Mode())
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1, "no temporary file stays")

	s, err = Open(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { closeNow(s) })
	list := s.List()
	require.Len(t, list, 2)
	require.Equal(t, []Registration{first, third}, []Registration{list[0].Registration, list[1].Registration})
	s.Deliver(event("evt-1", "a"))
	eventually(t, s, first.ID, func(h Hook) bool { return h.Delivered == 1 })
}

func TestNothingKeptWithoutDirectory(t *testing.T) {
	s, err := Open(Config{Rule: Rule{AllowPrivate: true}})
	require.NoError(t, err)
	t.Cleanup(func() { closeNow(s) })
	add(t, s, "http://127.0.0.1:1/")
	require.Equal(t, 1, s.Len())
}

// TestDiskFull finds that a webhook which cannot be kept is not there at all.
func TestDiskFull(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	s := newTestSet(t, Config{Dir: file, Rule: Rule{AllowPrivate: true}}) // a file is no directory
	_, err := s.Add(t.Context(), "http://127.0.0.1:1/", nil, "")
	require.Error(t, err)
	require.Zero(t, s.Len())
}

func TestLimit(t *testing.T) {
	s := newTestSet(t, Config{Limit: 2, Rule: Rule{AllowPrivate: true}})
	first := add(t, s, "http://127.0.0.1:1/")
	add(t, s, "http://127.0.0.1:1/")
	_, err := s.Add(t.Context(), "http://127.0.0.1:1/", nil, "")
	require.ErrorIs(t, err, ErrLimit)
	require.NoError(t, s.Remove(first.ID))
	add(t, s, "http://127.0.0.1:1/")
}

const goodFile = `{"webhooks":[{"id":"a","url":"http://127.0.0.1/","events":["publisher.live"],"secret":"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw","created_at":"2026-01-02T03:04:05Z"}]}`

func TestDecode(t *testing.T) {
	list, err := decode([]byte(goodFile))
	require.NoError(t, err)
	require.Len(t, list, 1)
	for i := range goodFile {
		_, err := decode([]byte(goodFile[:i]))
		require.Error(t, err, "a prefix of %d bytes", i)
	}
	for name, change := range map[string][2]string{
		"unknown field":  {`"id"`, `"unknown":1,"id"`},
		"no id":          {`"a"`, `""`},
		"not http":       {"http://", "ftp://"},
		"short secret":   {"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "MfKQ"},
		"empty type":     {"publisher.live", ""},
		"trailing value": {`]}`, `]}{}`},
		"no time":        {"2026-01-02", "yesterday"},
	} {
		_, err := decode(bytes.Replace([]byte(goodFile), []byte(change[0]), []byte(change[1]), 1))
		assert.Error(t, err, name)
	}
	twice := bytes.Replace([]byte(goodFile), []byte(`"webhooks":[`), []byte(goodFile[len(`{`):len(goodFile)-len(`]}`)]+","), 1)
	_, err = decode(twice)
	require.ErrorContains(t, err, "twice")

	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, storeFile), []byte("broken"), 0o600))
	_, err = Open(Config{Dir: dir})
	require.ErrorContains(t, err, filepath.Join(dir, storeFile))
}

// FuzzDecode sees that what the file's decoder accepts survives being written again.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(goodFile))
	f.Add([]byte(`{"webhooks":[]}`))
	f.Add([]byte(`{"webhooks":null} x`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		list, err := decode(text)
		if err != nil {
			return
		}
		again, err := json.Marshal(store{Webhooks: list})
		require.NoError(t, err)
		reread, err := decode(again)
		require.NoError(t, err, string(again))
		require.Len(t, reread, len(list))
	})
}

func TestSecrets(t *testing.T) {
	for text, ok := range map[string]bool{
		string(NewSecret()):                                 true,
		"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw":            true,
		"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw":                  false,
		"whsec_":                                            false,
		"whsec_MfKQ":                                        false,
		"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS=":            false,
		"whsec_MfKQ9r8GKYqrTwjU\nPD8ILPZIo2LaLaSw":          false,
		"whsec_" + string(bytes.Repeat([]byte("AAAA"), 22)): false, // 66 bytes
	} {
		_, err := ParseSecret(text)
		assert.Equal(t, ok, err == nil, text)
	}
	require.NotEqual(t, NewSecret(), NewSecret())
	s := NewSecret()
	for _, printed := range []string{fmt.Sprint(s), fmt.Sprintf("%#v", s), fmt.Sprintf("%+v", Registration{Secret: s})} {
		require.NotContains(t, printed, string(s)[len(secretPrefix):])
	}
	require.Empty(t, Secret("").String())
}

// FuzzSecret sees that every secret that is accepted can sign.
func FuzzSecret(f *testing.F) {
	f.Add("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	f.Add("whsec_====")
	f.Fuzz(func(t *testing.T, text string) {
		if s, err := ParseSecret(text); err == nil {
			require.Len(t, s.sign("id", event("", "").Time, nil), len("v1,")+44)
		}
	})
}
