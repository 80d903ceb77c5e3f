package relay

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// Headers of requests and responses that belong to a link.
const (
	authScheme  = "Rheomesh-Link"
	headerProof = "Rheomesh-Proof"
)

// authority proves that requests come from the initiator of a link and responses from its responder, by keys that only the two have. Requests are numbered, so
// that none can be repeated.
type authority struct {
	requests, responses []byte

	mu   sync.Mutex // guards next
	next uint64     // the number of the next request, or the least that is still accepted
}

func newAuthority(secrets [2][]byte) (*authority, error) {
	requests, err := hkdf.Expand(sha256.New, secrets[0], "rheomesh relay 1 requests", sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("link authority: %w", err)
	}
	responses, err := hkdf.Expand(sha256.New, secrets[1], "rheomesh relay 1 responses", sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("link authority: %w", err)
	}
	return &authority{requests: requests, responses: responses, next: 1}, nil
}

func proof(key []byte, parts ...string) string {
	mac := hmac.New(sha256.New, key)
	for _, part := range parts {
		fmt.Fprintf(mac, "%d:", len(part)) // so that no part can be moved to its neighbour
		mac.Write([]byte(part))
	}
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// sign numbers a request of the initiator and proves it. handle is where the responder knows the link by.
func (a *authority) sign(r *http.Request, handle uint32, body []byte) (number uint64) {
	a.mu.Lock()
	number = a.next
	a.next++
	a.mu.Unlock()
	text := strconv.FormatUint(number, 10)
	r.Header.Set("Authorization", fmt.Sprintf("%s %d %s %s", authScheme, handle, text, proof(a.requests, r.Method, r.URL.Path, text, string(body))))
	return number
}

// credential takes the Authorization header apart.
func credential(r *http.Request) (handle uint32, number, mac string, ok bool) {
	fields := strings.Fields(r.Header.Get("Authorization"))
	if len(fields) != 4 || fields[0] != authScheme {
		return 0, "", "", false
	}
	value, err := strconv.ParseUint(fields[1], 10, 24)
	return uint32(value), fields[2], fields[3], err == nil
}

// verify checks a request's proof, and that its number is new.
func (a *authority) verify(r *http.Request, number, mac string, body []byte) bool {
	if !hmac.Equal([]byte(mac), []byte(proof(a.requests, r.Method, r.URL.Path, number, string(body)))) {
		return false
	}
	value, err := strconv.ParseUint(number, 10, 64)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil || value < a.next {
		return false
	}
	a.next = value + 1
	return true
}

// answer proves a response to the request with the number.
func (a *authority) answer(number string, status int, body []byte) string {
	return proof(a.responses, number, strconv.Itoa(status), string(body))
}

// answered checks the proof of a response.
func (a *authority) answered(number uint64, response *http.Response, body []byte) bool {
	want := a.answer(strconv.FormatUint(number, 10), response.StatusCode, bytes.Clone(body))
	return hmac.Equal([]byte(response.Header.Get(headerProof)), []byte(want))
}
