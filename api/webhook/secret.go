package webhook

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"
	"time"
)

// The size of a secret in bytes: the bounds are those of the Standard Webhooks specification.
const (
	minSecretBytes = 24
	maxSecretBytes = 64
	newSecretBytes = 32
	secretPrefix   = "whsec_"
)

// Secret is the key that signs requests to one receiver: "whsec_" and base64. It is printed as a mask; JSON holds it in full.
type Secret string

// NewSecret draws a secret.
func NewSecret() Secret {
	var key [newSecretBytes]byte
	_, _ = rand.Read(key[:]) // never fails (crypto/rand)
	return Secret(secretPrefix + base64.StdEncoding.EncodeToString(key[:]))
}

// ParseSecret checks a secret that somebody else drew.
func ParseSecret(text string) (Secret, error) {
	encoded, ok := strings.CutPrefix(text, secretPrefix)
	key, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if !ok || err != nil || len(key) < minSecretBytes || len(key) > maxSecretBytes || strings.ContainsAny(encoded, "\r\n") {
		return "", ErrSecret
	}
	return Secret(text), nil
}

// String is a mask.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return secretPrefix + "********"
}

// GoString keeps the secret out of %#v.
func (s Secret) GoString() string { return s.String() }

// sign is the value of webhook-signature: the HMAC of "id.timestamp.body", with the version of the scheme.
func (s Secret) sign(id string, at time.Time, body []byte) string {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(string(s), secretPrefix))
	if err != nil {
		panic("webhook: secret that was never parsed")
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + strconv.FormatInt(at.Unix(), 10) + "."))
	mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
