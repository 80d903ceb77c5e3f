package relay

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/flynn/noise"

	"rheomesh/relay/wire"
	"rheomesh/sfu"
)

// Bounds of the server for nodes.
const (
	maxConnections      = 512
	maxConnectionsPerIP = 64
)

const problemPrefix = "urn:rheomesh:relay:"

// problem is the body of a refusal (RFC 9457); the last part of its type is a reason.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
}

// statuses of reasons; what is not here is 400.
var statuses = map[string]int{
	"denied": http.StatusUnauthorized, "router-not-found": http.StatusNotFound, "loop": http.StatusConflict, "too-many-hops": http.StatusConflict,
	"version": http.StatusUpgradeRequired, "draining": http.StatusServiceUnavailable, "capacity": http.StatusServiceUnavailable, "link-lost": http.StatusNotFound,
}

// newServer makes the server for nodes: requests come from machines of the cluster and from whoever else reaches the port, so all of it is bounded.
func newServer(n *Node) *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /relay/v1/links/{node}", n.serveHandshake)
	mux.HandleFunc("GET /relay/v1/links/{node}", n.serveLinked((*link).serveState))
	mux.HandleFunc("DELETE /relay/v1/links/{node}", n.serveLinked((*link).serveEnd))
	mux.HandleFunc("PUT /relay/v1/links/{node}/secret", n.serveLinked((*link).serveSecret))
	mux.HandleFunc("GET /relay/v1/links/{node}/streams", n.serveLinked((*link).serveStreams))
	mux.HandleFunc("PUT /relay/v1/links/{node}/streams", n.serveLinked((*link).serveOffer))
	mux.HandleFunc("DELETE /relay/v1/links/{node}/streams/{relay}", n.serveLinked((*link).serveStreamsEnd))
	mux.HandleFunc("PUT /relay/v1/links/{node}/pulls", n.serveLinked((*link).servePull))
	mux.HandleFunc("DELETE /relay/v1/links/{node}/pulls/{relay}", n.serveLinked((*link).servePullEnd))
	return &http.Server{
		Handler: n.counted(mux), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: 60 * time.Second,
		MaxHeaderBytes: 8 << 10, ErrorLog: slog.NewLogLogger(n.log.Handler(), slog.LevelDebug),
	}
}

// counted lets Close wait for requests.
func (n *Node) counted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !n.tasks.begin() {
			refuse(w, ErrPeerDraining)
			return
		}
		defer n.tasks.done()
		next.ServeHTTP(w, r)
	})
}

// refuse answers with the problem of err. Who is not known learns nothing but that.
func refuse(w http.ResponseWriter, err error) {
	status, body := refusalBody(err)
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

func refusalBody(err error) (status int, body []byte) {
	reason := reasonOf(err)
	status, ok := statuses[reason]
	if !ok {
		status = http.StatusBadRequest
	}
	body, _ = json.Marshal(problem{Type: problemPrefix + reason, Title: reason, Status: status}) // strings and numbers always marshal
	return status, body
}

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	return io.ReadAll(http.MaxBytesReader(w, r.Body, maxBodyBytes))
}

// serveHandshake answers a node that wants a link.
func (n *Node) serveHandshake(w http.ResponseWriter, r *http.Request) {
	body, err := readBody(w, r)
	if err == nil {
		body, err = n.answerHandshake(r, body)
	}
	if err != nil {
		n.log.Info("handshake refused", "remote_addr", r.RemoteAddr, "err", err)
		refuse(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body)
}

func (n *Node) answerHandshake(r *http.Request, body []byte) ([]byte, error) {
	remote, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || n.keys.Load().open && !remote.Addr().Unmap().IsLoopback() {
		return nil, fmt.Errorf("handshake from %s without a cluster secret: %w", r.RemoteAddr, ErrDenied)
	}
	if !n.greetings.Allow() {
		return nil, fmt.Errorf("handshakes: %w", ErrCapacity)
	}
	var offer handshake
	if err := decodeStrict(body, &offer); err != nil {
		return nil, fmt.Errorf("handshake: %w", ErrDenied)
	}
	state, key, err := greet(offer, n.keys.Load())
	if err != nil {
		return nil, err
	}
	var terms offerTerms
	if err := json.Unmarshal(offer.Terms, &terms); err != nil || !sfu.ValidID(string(terms.NodeID)) || string(terms.NodeID) != r.PathValue("node") || terms.Handle >= 1<<24 {
		return nil, fmt.Errorf("handshake: terms: %w", ErrVersion)
	}
	switch {
	case terms.NodeID == n.media.ID():
		return nil, fmt.Errorf("handshake with this node itself: %w", ErrLoop)
	case terms.VersionMin > version || terms.VersionMax < version:
		return nil, fmt.Errorf("handshake: versions %d to %d, here is %d: %w", terms.VersionMin, terms.VersionMax, version, ErrVersion)
	case n.media.Draining():
		return nil, fmt.Errorf("handshake: %w", ErrPeerDraining)
	case n.pendingLinks() >= maxPending:
		return nil, fmt.Errorf("handshake: %w", ErrCapacity)
	}
	if l := n.agreed(terms); l != nil {
		return l.answer, nil
	}
	own := &receiver{}
	if err := n.reserve(own); err != nil {
		return nil, err
	}
	answer, err := n.respond(state, key, terms, own)
	if err != nil {
		n.release(own)
	}
	return answer, err
}

// agreed is the link that the same handshake has made before; a repeated one gets the same answer.
func (n *Node) agreed(terms offerTerms) *link {
	for _, l := range n.allLinks() {
		if !l.initiator && l.peer == terms.NodeID && l.peerEpoch == terms.Epoch && l.nonce == terms.Nonce {
			return l
		}
	}
	return nil
}

// respond makes the responder's end of the link and its answer.
func (n *Node) respond(state *noise.HandshakeState, key clusterKey, terms offerTerms, own *receiver) ([]byte, error) {
	mine, err := json.Marshal(answerTerms{Version: version, NodeID: n.media.ID(), Epoch: n.epoch, Handle: uint32(own.handle)})
	if err != nil {
		return nil, fmt.Errorf("handshake: %w", err)
	}
	message, secrets, err := reply(state, mine)
	if err != nil {
		return nil, err
	}
	l, err := n.newLink(terms.NodeID, terms.Epoch, false, secrets, wire.Handle(terms.Handle), own)
	if err != nil {
		return nil, err
	}
	l.line, l.nonce = terms.Line, terms.Nonce
	l.restsOn.Store(&key)
	if l.answer, err = json.Marshal(handshake{Terms: mine, Noise: message}); err != nil {
		return nil, fmt.Errorf("handshake: %w", err)
	}
	return l.answer, l.begin()
}

// supersede ends the links that a newly proven one takes the place of: those of its peer before a restart, and the one before it on the same line.
func (n *Node) supersede(newest *link) {
	if newest.initiator {
		return
	}
	for _, l := range n.allLinks() {
		if l != newest && !l.initiator && l.peer == newest.peer && (l.peerEpoch != newest.peerEpoch || l.line == newest.line) && l.createdAt.Before(newest.createdAt) {
			l.close(errLinkGone)
		}
	}
}

func (n *Node) pendingLinks() (count int) {
	for _, l := range n.allLinks() {
		if !l.initiator && l.control.at.Load() == nil {
			count++
		}
	}
	return count
}

// serveLinked serves requests that belong to a link and are proved to come from its initiator. Everybody else gets the same answer, whatever exists.
func (n *Node) serveLinked(serve func(l *link, r *http.Request, body []byte) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := readBody(w, r)
		l, number := n.linkOf(r, body)
		if err != nil || l == nil {
			refuse(w, ErrDenied)
			return
		}
		response, err := serve(l, r, body)
		status, raw := http.StatusOK, []byte{}
		switch {
		case err != nil:
			l.log.Info("request refused", "path", r.URL.Path, "err", err)
			status, raw = refusalBody(err)
			w.Header().Set("Content-Type", "application/problem+json")
		case response != nil:
			raw, _ = json.Marshal(response) // our own types always marshal
			w.Header().Set("Content-Type", "application/json")
		}
		w.Header().Set(headerProof, l.auth.answer(number, status, raw))
		w.WriteHeader(status)
		_, _ = w.Write(raw)
	}
}

// linkOf finds the link of a proved request; nil when it is none.
func (n *Node) linkOf(r *http.Request, body []byte) (l *link, number string) {
	value, number, mac, ok := credential(r)
	if !ok {
		return nil, ""
	}
	handle := wire.Handle(value)
	if handle.Slot() >= tableSlots {
		return nil, ""
	}
	to := n.table[handle.Slot()].Load()
	if to == nil || to.handle != handle || to.stream != nil || to.data != nil || to.link.initiator || r.PathValue("node") != string(to.link.peer) {
		return nil, ""
	}
	if !to.link.auth.verify(r, number, mac, body) {
		return nil, ""
	}
	return to.link, number
}

// limitConnections bounds the connections of a listener, in all and per address: one that says nothing must not keep the others out.
func limitConnections(l net.Listener) net.Listener {
	return &limitedListener{Listener: l, perIP: map[string]int{}}
}

type limitedListener struct {
	net.Listener
	mu    sync.Mutex // guards the fields below
	count int
	perIP map[string]int
}

func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		host, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
		if l.admit(host) {
			return &limitedConn{Conn: conn, release: sync.OnceFunc(func() { l.leave(host) })}, nil
		}
		_ = conn.Close()
	}
}

func (l *limitedListener) admit(host string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.count >= maxConnections || l.perIP[host] >= maxConnectionsPerIP {
		return false
	}
	l.count++
	l.perIP[host]++
	return true
}

func (l *limitedListener) leave(host string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count--
	if l.perIP[host]--; l.perIP[host] == 0 {
		delete(l.perIP, host)
	}
}

type limitedConn struct {
	net.Conn
	release func()
}

func (c *limitedConn) Close() error {
	c.release()
	return c.Conn.Close()
}

// linkState is what GET of a link says.
type linkState struct {
	NodeID sfu.NodeID `json:"node_id"`
	Epoch  string     `json:"epoch"`
	Up     bool       `json:"up"`
}

func (l *link) serveState(*http.Request, []byte) (any, error) {
	return linkState{NodeID: l.node.media.ID(), Epoch: l.node.epoch, Up: l.up.Load()}, nil
}

func (l *link) serveEnd(*http.Request, []byte) (any, error) {
	l.close(errLinkGone)
	return nil, nil
}

func (l *link) serveOffer(_ *http.Request, body []byte) (any, error) {
	var set streamSet
	if err := decodeStrict(body, &set); err != nil || !set.valid() {
		return nil, fmt.Errorf("streams: %w", errors.Join(ErrVersion, err))
	}
	if l.node.media.Draining() {
		return nil, ErrPeerDraining
	}
	answers, err := l.inboundFor(set.Relay).apply(set)
	return acceptance{Streams: answers}, err
}

func (l *link) serveStreams(*http.Request, []byte) (any, error) {
	l.streams.Lock()
	defer l.streams.Unlock()
	state := map[string][]string{}
	for name, in := range l.inbound {
		state[name] = in.keys()
	}
	return state, nil
}

func (l *link) serveStreamsEnd(r *http.Request, _ []byte) (any, error) {
	l.endInbound(r.PathValue("relay"))
	return nil, nil
}

func (l *link) servePull(_ *http.Request, body []byte) (any, error) {
	var order pullOrder
	if err := decodeStrict(body, &order); err != nil || !order.valid() {
		return nil, fmt.Errorf("pull: %w", errors.Join(ErrVersion, err))
	}
	if l.node.media.Draining() {
		return nil, ErrPeerDraining
	}
	if _, err := l.node.media.Router(order.Router); err != nil {
		return nil, ErrRemoteRouter
	}
	out := l.outboundFor(order.Relay, order.Router, order.Publishers, order.MaxHops)
	_ = out.accept(order.Accepted.Streams) // what the peer refused, it knows itself
	offers, err := out.offers()
	if err != nil && len(offers) == 0 {
		return nil, err
	}
	return streamSet{Relay: order.Relay, RemoteRouter: order.Router, MaxHops: order.MaxHops, Streams: offers}, nil
}

func (l *link) servePullEnd(r *http.Request, _ []byte) (any, error) {
	l.endOutbound(r.PathValue("relay"))
	return nil, nil
}
