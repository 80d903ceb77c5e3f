package relay

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// reproveEvery is how often the initiator of a link that rests on the previous secret offers the current one.
const reproveEvery = time.Second

// clusterKey is what a cluster secret becomes in a handshake.
type clusterKey [sha256.Size]byte

// clusterKeys are the keys that a node accepts, the current one first. The slice does not change once it is in use.
type clusterKeys struct {
	open bool // there is no secret: only this machine
	list []clusterKey
}

func newClusterKeys(current, previous string) *clusterKeys {
	k := &clusterKeys{open: current == "", list: []clusterKey{clusterKeyOf(current)}}
	if previous != "" && previous != current {
		k.list = append(k.list, clusterKeyOf(previous))
	}
	return k
}

func clusterKeyOf(secret string) clusterKey {
	return sha256.Sum256([]byte("rheomesh relay 1 secret\n" + secret))
}

func (k *clusterKeys) current() clusterKey { return k.list[0] }

// SetSecrets replaces the cluster secrets. Links that rest on neither of the new ones end at once; the others stay, and move to the current one as soon as their peer has it.
func (n *Node) SetSecrets(current, previous string) {
	keys := newClusterKeys(current, previous)
	n.keys.Store(keys)
	for _, l := range n.allLinks() {
		if !slices.Contains(keys.list, *l.restsOn.Load()) {
			l.log.Warn("link ends: its secret is not valid any more")
			l.sayBye()
			l.close(errLinkGone)
		}
	}
}

// rests says which of the node's secrets the link rests on.
func (l *link) rests() string {
	if *l.restsOn.Load() == l.node.keys.Load().current() {
		return "current"
	}
	return "previous"
}

// secretProof goes with a request and its response: who sends it knows a cluster key and the link's own keys.
type secretProof struct {
	Proof []byte `json:"proof"`
}

// proveKey proves a cluster key to the link's peer; the two ends prove differently.
func (l *link) proveKey(key clusterKey, initiator bool) []byte {
	of := l.auth.responses
	if initiator {
		of = l.auth.requests
	}
	mac := hmac.New(sha256.New, key[:])
	mac.Write([]byte("rheomesh relay 1 secret of link\n"))
	mac.Write(of)
	return mac.Sum(nil)
}

// moveToCurrent offers the peer to rest the link on the current secret, so that the previous one can go without the link. While the peer does not have it, it refuses.
func (l *link) moveToCurrent() {
	if l.reproving.Swap(true) {
		return
	}
	if !l.node.tasks.start(func() {
		defer l.reproving.Store(false)
		ctx, cancel := context.WithTimeout(l.node.ctx, requestTimeout)
		defer cancel()
		key := l.node.keys.Load().current()
		var answer secretProof
		err := l.request(ctx, http.MethodPut, "/secret", secretProof{l.proveKey(key, true)}, &answer)
		if err == nil && !hmac.Equal(answer.Proof, l.proveKey(key, false)) {
			err = ErrDenied
		}
		if err == nil {
			l.restsOn.Store(&key)
			l.log.Info("link rests on the current secret")
			return
		}
		l.log.Debug("link still rests on the previous secret", "err", err)
	}) {
		l.reproving.Store(false)
	}
}

// serveSecret takes the initiator's proof of a secret.
func (l *link) serveSecret(_ *http.Request, body []byte) (any, error) {
	var offered secretProof
	if err := decodeStrict(body, &offered); err != nil {
		return nil, fmt.Errorf("secret: %w", errors.Join(ErrVersion, err))
	}
	for _, key := range l.node.keys.Load().list {
		if hmac.Equal(offered.Proof, l.proveKey(key, true)) {
			l.restsOn.Store(&key)
			return secretProof{l.proveKey(key, false)}, nil
		}
	}
	return nil, fmt.Errorf("secret: %w", ErrDenied)
}
