package bench

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	_ "crypto/sha256" // hash of fingerprints
	_ "crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/pion/dtls/v3"
)

// Profile says which SRTP protection profiles the clients offer.
type Profile string

// The profiles of --profile. A server may lack AES-GCM, so GCM offers the other as well, behind it.
const (
	ProfileGCM  Profile = "gcm"  // AEAD_AES_128_GCM (RFC 7714), then AES128_CM_HMAC_SHA1_80
	ProfileSHA1 Profile = "sha1" // AES128_CM_HMAC_SHA1_80 (RFC 3711) alone
)

func (p Profile) offered() []dtls.SRTPProtectionProfile {
	if p == ProfileSHA1 {
		return []dtls.SRTPProtectionProfile{dtls.SRTP_AES128_CM_HMAC_SHA1_80}
	}
	return []dtls.SRTPProtectionProfile{dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80}
}

// newIdentity makes a self-signed certificate, one for all clients: the server's work is the same as with many.
func newIdentity(p Profile) (*identity, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "bench"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(30 * 24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	print, err := fingerprint("sha-256", der)
	if err != nil {
		return nil, err
	}
	return &identity{
		certificate: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, fingerprint: print, profiles: p.offered(),
	}, nil
}

// fingerprint is the hash of a DER certificate as a=fingerprint writes it (RFC 8122 section 5).
func fingerprint(algorithm string, certificate []byte) (string, error) {
	hashes := map[string]crypto.Hash{"sha-1": crypto.SHA1, "sha-256": crypto.SHA256, "sha-384": crypto.SHA384, "sha-512": crypto.SHA512}
	hash, ok := hashes[algorithm]
	if !ok || !hash.Available() {
		return "", fmt.Errorf("fingerprint algorithm %q is not supported", algorithm)
	}
	h := hash.New()
	h.Write(certificate)
	pairs := make([]string, 0, hash.Size())
	for _, b := range h.Sum(nil) {
		pairs = append(pairs, fmt.Sprintf("%02X", b))
	}
	return strings.Join(pairs, ":"), nil
}
