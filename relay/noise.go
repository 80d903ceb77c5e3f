package relay

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"

	"github.com/flynn/noise"
)

// Both nodes run Noise_NNpsk0_25519_AESGCM_SHA256: ephemeral keys alone, since the cluster secret says who may take part. The initiator's terms are the prologue, and the
// second message carries the digest of the responder's, so that neither can be changed on the way.
var suite = noise.NewCipherSuite(noise.DH25519, noise.CipherAESGCM, noise.HashSHA256)

func handshakeState(initiator bool, terms []byte, key clusterKey) (*noise.HandshakeState, error) {
	return noise.NewHandshakeState(noise.Config{
		CipherSuite: suite, Random: rand.Reader, Pattern: noise.HandshakeNN, Initiator: initiator, Prologue: terms, PresharedKey: key[:], PresharedKeyPlacement: 0,
	})
}

// propose starts a handshake about terms.
func propose(terms []byte, key clusterKey) (*noise.HandshakeState, []byte, error) {
	state, err := handshakeState(true, terms, key)
	if err != nil {
		return nil, nil, fmt.Errorf("handshake: %w", err)
	}
	message, _, _, err := state.WriteMessage(nil, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("handshake: %w", err)
	}
	return state, message, nil
}

// conclude takes the responder's answer, and returns the secrets of the direction from the initiator and of that to it.
func conclude(state *noise.HandshakeState, answer handshake) (secrets [2][]byte, err error) {
	digest, toResponder, toInitiator, err := state.ReadMessage(nil, answer.Noise)
	if err != nil {
		return secrets, fmt.Errorf("handshake: %w", ErrDenied)
	}
	if want := sha256.Sum256(answer.Terms); subtle.ConstantTimeCompare(digest, want[:]) != 1 {
		return secrets, fmt.Errorf("handshake: terms were changed: %w", ErrDenied)
	}
	return secretsOf(toResponder, toInitiator), nil
}

// greet takes the initiator's message, and finds out with which of the keys it was made. What none opens, it does not answer.
func greet(offer handshake, keys *clusterKeys) (*noise.HandshakeState, clusterKey, error) {
	for _, key := range keys.list {
		state, err := handshakeState(false, offer.Terms, key)
		if err != nil {
			return nil, key, fmt.Errorf("handshake: %w", err)
		}
		if _, _, _, err := state.ReadMessage(nil, offer.Noise); err == nil {
			return state, key, nil
		}
	}
	return nil, clusterKey{}, fmt.Errorf("handshake: %w", ErrDenied)
}

// reply makes the responder's message about its own terms.
func reply(state *noise.HandshakeState, terms []byte) (message []byte, secrets [2][]byte, err error) {
	digest := sha256.Sum256(terms)
	message, toResponder, toInitiator, err := state.WriteMessage(nil, digest[:])
	if err != nil {
		return nil, secrets, fmt.Errorf("handshake: %w", err)
	}
	return message, secretsOf(toResponder, toInitiator), nil
}

func secretsOf(toResponder, toInitiator *noise.CipherState) [2][]byte {
	first, second := toResponder.UnsafeKey(), toInitiator.UnsafeKey()
	return [2][]byte{first[:], second[:]}
}
