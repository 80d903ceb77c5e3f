package relay

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"rheomesh/relay/wire"
)

// dialer makes the link to one peer that relays of this node name, one at a time, and shares it among them.
type dialer struct {
	node *Node
	peer string // as in orders
	line string

	mu   sync.Mutex // held over a whole handshake
	link *link
}

// newClient makes the client of node-to-node requests. It follows no redirects and asks no proxy: a request goes to the address that was checked, or nowhere.
func newClient() *http.Client {
	dial := &net.Dialer{Timeout: connectTimeout}
	return &http.Client{
		Timeout:       requestTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: dial.DialContext, MaxIdleConnsPerHost: 4, IdleConnTimeout: 30 * time.Second,
			ResponseHeaderTimeout: requestTimeout, MaxResponseHeaderBytes: 16 << 10, DisableCompression: true,
		},
	}
}

func (n *Node) dialerFor(peer string) *dialer {
	n.mu.Lock()
	defer n.mu.Unlock()
	d := n.dialers[peer]
	if d == nil {
		d = &dialer{node: n, peer: peer, line: rand.Text()}
		n.dialers[peer] = d
	}
	return d
}

// connect returns the link to the peer, and makes it when there is none that lives. The link's peer has answered over UDP.
func (d *dialer) connect(ctx context.Context) (*link, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.link != nil {
		select {
		case <-d.link.done:
			d.link = nil
		default:
			return d.link, nil
		}
	}
	l, err := d.dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("link to %s: %w", d.peer, err)
	}
	timer := time.NewTimer(proveTimeout)
	defer timer.Stop()
	select {
	case <-l.proven:
		d.link = l
		return l, nil
	case <-l.done:
		err = l.cause
	case <-timer.C:
		err = ErrUDPBlocked
	case <-ctx.Done():
		err = ErrUnreachable
	}
	l.close(err)
	return nil, fmt.Errorf("link to %s: %w", d.peer, err)
}

// dial runs the handshake.
func (d *dialer) dial(ctx context.Context) (*link, error) {
	n := d.node
	addr, err := n.resolve(ctx, d.peer)
	if err != nil {
		return nil, err
	}
	via := n.socketFor(addr.Addr())
	if via == nil {
		return nil, fmt.Errorf("no socket for %s: %w", addr, ErrUnreachable)
	}
	r := &receiver{}
	if err := n.reserve(r); err != nil {
		return nil, err
	}
	l, err := d.agreeOnAny(ctx, addr, r)
	if err != nil {
		n.release(r)
		return nil, err
	}
	l.dialled, l.candidate = addr, &target{addr: addr, via: via}
	if err := l.begin(); err != nil {
		n.release(r)
		return nil, err
	}
	return l, nil
}

// agreeOnAny runs the handshake with the current secret, and with the previous one if the peer does not know that.
func (d *dialer) agreeOnAny(ctx context.Context, addr netip.AddrPort, r *receiver) (l *link, err error) {
	for _, key := range d.node.keys.Load().list {
		if l, err = d.agree(ctx, addr, r, key); err == nil {
			l.restsOn.Store(&key)
			return l, nil
		}
		if !errors.Is(err, ErrDenied) {
			break
		}
	}
	return nil, err
}

func (d *dialer) agree(ctx context.Context, addr netip.AddrPort, r *receiver, key clusterKey) (*link, error) {
	n := d.node
	terms, err := json.Marshal(offerTerms{VersionMin: version, VersionMax: version, NodeID: n.media.ID(), Epoch: n.epoch, Nonce: rand.Text(), Line: d.line, Handle: uint32(r.handle)})
	if err != nil {
		return nil, fmt.Errorf("handshake: %w", err)
	}
	state, message, err := propose(terms, key)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(handshake{Terms: terms, Noise: message})
	if err != nil {
		return nil, fmt.Errorf("handshake: %w", err)
	}
	status, _, raw, err := n.exchange(ctx, http.MethodPut, addr, "/relay/v1/links/"+string(n.media.ID()), body, nil)
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, refusal(status, raw)
	}
	var answer handshake
	if err := decodeStrict(raw, &answer); err != nil {
		return nil, fmt.Errorf("handshake: %w", ErrDenied)
	}
	secrets, err := conclude(state, answer)
	if err != nil {
		return nil, err
	}
	var terms2 answerTerms
	if err := decodeStrict(answer.Terms, &terms2); err != nil || terms2.Version != version {
		return nil, fmt.Errorf("handshake: %w", ErrVersion)
	}
	return n.newLink(terms2.NodeID, terms2.Epoch, true, secrets, wire.Handle(terms2.Handle), r)
}

// exchange makes one request to a checked address. sign, unless nil, proves it.
func (n *Node) exchange(ctx context.Context, method string, addr netip.AddrPort, path string, body []byte, sign func(*http.Request) uint64) (status int, verify func(*authority) bool, raw []byte, err error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://"+addr.String()+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	request.Header.Set("Content-Type", "application/json")
	var number uint64
	if sign != nil {
		number = sign(request)
	}
	response, err := n.client.Do(request) //nolint:bodyclose // closed below; verify looks at the header only
	if err != nil {
		return 0, nil, nil, fmt.Errorf("%s: %w: %w", addr, ErrUnreachable, errors.Unwrap(err))
	}
	defer response.Body.Close()
	raw, err = io.ReadAll(io.LimitReader(response.Body, maxBodyBytes+1))
	if err != nil || len(raw) > maxBodyBytes {
		return 0, nil, nil, fmt.Errorf("%s: response: %w", addr, ErrUnreachable)
	}
	return response.StatusCode, func(a *authority) bool { return a.answered(number, response, raw) }, raw, nil
}

// request makes a request that belongs to the link, and checks that the peer itself has answered.
func (l *link) request(ctx context.Context, method, path string, in, out any) error {
	body := []byte{}
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return fmt.Errorf("%s %s: %w", method, path, err)
		}
	}
	path = "/relay/v1/links/" + string(l.node.media.ID()) + path
	l.requesting.Lock() // the peer takes numbers in their order
	status, verify, raw, err := l.node.exchange(ctx, method, l.dialled, path, body, func(r *http.Request) uint64 {
		return l.auth.sign(r, uint32(l.control.remote), body)
	})
	l.requesting.Unlock()
	if err != nil {
		return err
	}
	if !verify(l.auth) { // the peer does not know the link, or somebody else answers
		return fmt.Errorf("%s %s: %w", method, path, errLinkGone)
	}
	if status/100 != 2 {
		return refusal(status, raw)
	}
	if out == nil {
		return nil
	}
	if err := decodeStrict(raw, out); err != nil {
		return fmt.Errorf("%s %s: response: %w", method, path, ErrVersion)
	}
	return nil
}

// probe asks a silent peer whether it still knows the link: one that has restarted does not, and needs not be waited for.
func (n *Node) probe(l *link) {
	if l.probing.Swap(true) {
		return
	}
	if !n.tasks.start(func() {
		defer l.probing.Store(false)
		ctx, cancel := context.WithTimeout(n.ctx, time.Second)
		defer cancel()
		if err := l.request(ctx, http.MethodGet, "", nil, nil); errors.Is(err, errLinkGone) {
			l.close(errLinkGone)
		}
	}) {
		l.probing.Store(false)
	}
}

// refusal is the error that a problem document of a peer stands for.
func refusal(status int, raw []byte) error {
	var p problem
	if json.Unmarshal(raw, &p) == nil {
		if reason, ok := strings.CutPrefix(p.Type, problemPrefix); ok {
			return fmt.Errorf("peer answers %d: %w", status, errorOf(reason))
		}
	}
	return fmt.Errorf("peer answers %d: %w", status, ErrUnreachable)
}

// decodeStrict decodes one JSON value without unknown fields.
func decodeStrict(raw []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one JSON value")
	}
	return nil
}
