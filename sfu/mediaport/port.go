package mediaport

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"rheomesh/internal/udpbatch"
)

const (
	readMessages     = 32              // messages per recvmmsg; with GRO each may hold up to 64 datagrams
	readMessageBytes = 64 << 10        // a GRO message is at most 65,535 bytes
	bindAttempts     = 16              // tries to find one free number for every address and protocol when the port is 0
	addressGrace     = 5 * time.Second // a bound address changes hands only when its owner was silent for this long

	failurePause = 50 * time.Millisecond // after a failed read or accept: out of descriptors or memory, which others must free
)

// Endpoint is what the port hands packets to: one session's transport.
type Endpoint interface {
	// HandlePacket takes one packet from the client. It is called on a reader goroutine of the port; several readers may call it at once.
	// data is valid until the return, and must not block the reader.
	HandlePacket(data []byte, path Path, now time.Time)
}

// Config configures a Port. The zero value listens on every address, on a free port.
type Config struct {
	// Addr is "host:port". An empty host means every address of both families, "localhost" means 127.0.0.1 and ::1. Port 0 picks a free number.
	Addr string
	// DisableTCP leaves ICE-TCP out.
	DisableTCP bool
	// DisableOffload turns UDP segmentation offload off.
	DisableOffload bool
	// AfterBatch, when set, is called by a reader after it handed over everything that one system call returned.
	AfterBatch func()
	Logger     *slog.Logger

	limits tcpLimits // tests make them small; zero fields mean the defaults
}

// Port is the media port. All methods are safe for concurrent use.
type Port struct {
	config  Config
	log     *slog.Logger
	sockets []*Socket
	tcp     []net.Listener
	readers sync.WaitGroup
	closed  atomic.Bool

	// mu guards the tables below. Readers hold it for one look-up per packet.
	mu       sync.RWMutex
	byUfrag  map[string]Endpoint
	byNumber map[uint32]Endpoint
	byAddr   map[netip.AddrPort]*binding
	next     uint32
	conns    map[*tcpConn]struct{}
	unproven map[netip.Addr]int // TCP connections of a client network which no endpoint has bound yet

	unknown atomic.Uint64
}

// binding ties a remote address to an endpoint. heard is the time of the last packet, in nanoseconds since the epoch.
type binding struct {
	endpoint Endpoint
	heard    atomic.Int64
}

// Listen binds the sockets and starts one reader goroutine per UDP socket and one acceptor per TCP listener. Close ends them and waits.
func Listen(config Config) (*Port, error) {
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	config.limits = config.limits.withDefaults()
	p := &Port{
		config: config, log: config.Logger,
		byUfrag: map[string]Endpoint{}, byNumber: map[uint32]Endpoint{}, byAddr: map[netip.AddrPort]*binding{},
		conns: map[*tcpConn]struct{}{}, unproven: map[netip.Addr]int{},
	}
	if err := p.bind(); err != nil {
		return nil, fmt.Errorf("listen on media port %q: %w", config.Addr, err)
	}
	for _, socket := range p.sockets {
		p.readers.Go(func() { p.readUDP(socket) })
	}
	for _, listener := range p.tcp {
		p.readers.Go(func() { p.acceptTCP(listener) })
	}
	return p, nil
}

// Close closes every socket and connection, and returns when no goroutine of the port runs any more.
func (p *Port) Close() error {
	if p.closed.Swap(true) {
		p.readers.Wait()
		return nil
	}
	err := p.closeSockets()
	p.mu.Lock()
	for conn := range p.conns {
		conn.close()
	}
	p.mu.Unlock()
	p.readers.Wait()
	return err
}

func (p *Port) closeSockets() error {
	var errs []error
	for _, socket := range p.sockets {
		errs = append(errs, socket.conn.Close())
	}
	for _, listener := range p.tcp {
		errs = append(errs, listener.Close())
	}
	return errors.Join(errs...)
}

// Sockets lists the UDP sockets, in the order of their Index.
func (p *Port) Sockets() []*Socket { return p.sockets }

// LocalAddrs lists the bound UDP addresses; an unspecified one stands for every address of its family.
func (p *Port) LocalAddrs() []netip.AddrPort {
	addrs := make([]netip.AddrPort, len(p.sockets))
	for i, socket := range p.sockets {
		addrs[i] = socket.conn.LocalAddr()
	}
	return addrs
}

// TCP reports whether ICE-TCP is listened for.
func (p *Port) TCP() bool { return len(p.tcp) > 0 }

// Capabilities says what the kernel granted to socket i.
func (p *Port) Capabilities(i int) udpbatch.Capabilities { return p.sockets[i].conn.Capabilities() }

// Drops is the number of datagrams that the kernel dropped because a receive buffer was full.
func (p *Port) Drops() uint64 {
	var n uint64
	for _, socket := range p.sockets {
		n += socket.conn.Drops()
	}
	return n
}

// Unknown is the number of packets that belonged to no endpoint.
func (p *Port) Unknown() uint64 { return p.unknown.Load() }

// Attach gives the endpoint a number, which the first four bytes of each STUN transaction id that it sends must carry.
func (p *Port) Attach(endpoint Endpoint) uint32 {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		p.next++
		if _, taken := p.byNumber[p.next]; !taken && p.next != 0 {
			p.byNumber[p.next] = endpoint
			return p.next
		}
	}
}

// Name routes requests for the local ufrag to the endpoint. An endpoint may have two names while its ICE session restarts.
func (p *Port) Name(ufrag string, endpoint Endpoint) {
	p.mu.Lock()
	p.byUfrag[ufrag] = endpoint
	p.mu.Unlock()
}

// Unname forgets a ufrag.
func (p *Port) Unname(ufrag string) {
	p.mu.Lock()
	delete(p.byUfrag, ufrag)
	p.mu.Unlock()
}

// Bind routes packets from the path's address to the endpoint, which must have verified a connectivity check from there. An address that another endpoint
// holds, and was heard from lately, stays there: a client with valid credentials of its own cannot take over a neighbour's flow by a forged source address.
// Nor can it when the neighbour is silent, unless proven says that the client answered a check of ours at that address, which a forger cannot.
func (p *Port) Bind(path Path, endpoint Endpoint, now time.Time, proven bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if path.tcp != nil {
		p.proveLocked(path.tcp)
		return true
	}
	if held := p.byAddr[path.remote]; held != nil {
		if held.endpoint == endpoint {
			held.heard.Store(now.UnixNano())
			return true
		}
		if !proven || now.UnixNano()-held.heard.Load() < int64(addressGrace) {
			return false
		}
	}
	b := &binding{endpoint: endpoint}
	b.heard.Store(now.UnixNano())
	p.byAddr[path.remote] = b
	return true
}

// Detach forgets the endpoint's number and every address in paths that it holds, and closes its TCP connections once they have sent what is queued.
func (p *Port) Detach(number uint32, endpoint Endpoint, paths []Path) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.byNumber, number)
	for _, path := range paths {
		p.unbindLocked(path, endpoint)
	}
}

// Unbind forgets one address of the endpoint, or closes its TCP connection.
func (p *Port) Unbind(path Path, endpoint Endpoint) {
	p.mu.Lock()
	p.unbindLocked(path, endpoint)
	p.mu.Unlock()
}

func (p *Port) unbindLocked(path Path, endpoint Endpoint) {
	if path.tcp != nil {
		path.tcp.finish()
		return
	}
	if held := p.byAddr[path.remote]; held != nil && held.endpoint == endpoint {
		delete(p.byAddr, path.remote)
	}
}

// readUDP hands every datagram of one socket to its endpoint. It ends when the socket is closed.
func (p *Port) readUDP(socket *Socket) {
	batch, failures := udpbatch.NewReadBatch(readMessages, readMessageBytes), failureLog{log: p.log}
	for {
		if err := socket.conn.Read(batch); err != nil {
			if p.closed.Load() || errors.Is(err, net.ErrClosed) {
				return
			}
			failures.pause("media socket not read", err) // out of memory, for one: the whole node hangs on this socket, so it is never given up
			continue
		}
		now := time.Now()
		for i := range batch.Len() {
			packet := batch.Packet(i)
			p.dispatch(packet.Data, Path{socket: socket, remote: packet.Addr}, now)
		}
		if p.config.AfterBatch != nil {
			p.config.AfterBatch()
		}
	}
}

// dispatch finds the endpoint of one datagram. Hot path.
func (p *Port) dispatch(data []byte, path Path, now time.Time) {
	endpoint := p.route(data, path, now)
	if endpoint == nil {
		p.unknown.Add(1)
		return
	}
	endpoint.HandlePacket(data, path, now)
}

// route is the demultiplexing of RFC 7983 section 7: the first byte tells STUN (0..3) from the rest. Hot path.
func (p *Port) route(data []byte, path Path, now time.Time) Endpoint {
	if len(data) == 0 {
		return nil
	}
	switch first := data[0]; {
	case first <= 3:
		return p.routeSTUN(data, path, now)
	case first >= 20 && first <= 63, first >= 128 && first <= 191: // DTLS, SRTP and SRTCP
		return p.routeAddr(path, now)
	}
	return nil
}

func (p *Port) routeAddr(path Path, now time.Time) Endpoint {
	p.mu.RLock()
	held := p.byAddr[path.remote]
	p.mu.RUnlock()
	if held == nil {
		return nil
	}
	held.heard.Store(now.UnixNano())
	return held.endpoint
}

func (p *Port) routeSTUN(data []byte, path Path, now time.Time) Endpoint {
	switch classifySTUN(data) {
	case stunByUsername:
		return p.routeUfrag(data)
	case stunByAddress:
		return p.routeAddr(path, now)
	case stunByTransaction:
		p.mu.RLock()
		defer p.mu.RUnlock()
		return p.byNumber[endpointNumber(data)]
	case stunInvalid:
	}
	return nil
}

func (p *Port) routeUfrag(data []byte) Endpoint {
	ufrag, ok := localUfrag(data)
	if !ok {
		return nil
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.byUfrag[string(ufrag)]
}

// failureLog is a loop's answer to failures that may pass: wait a little and go on, with at most one log line a second. It belongs to one goroutine.
type failureLog struct {
	log    *slog.Logger
	logged time.Time
	count  int // since the last line
}

func (f *failureLog) pause(message string, err error) {
	f.count++
	if now := time.Now(); now.Sub(f.logged) >= time.Second {
		f.log.Error("media port failure", "operation", message, "count", f.count, "err", err)
		f.logged, f.count = now, 0
	}
	time.Sleep(failurePause)
}
