package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// Feedback is spread over a second, so that it does not come as one burst from all clients.
const (
	feedbackTick   = 20 * time.Millisecond
	feedbackSlices = int(time.Second / feedbackTick)
)

// delaySampled is about how many viewers open the last packet of each frame.
const delaySampled = 20

// load is a set of clients of one server.
type load struct {
	config   Config
	identity *identity
	poller   *poller
	client   *http.Client
	route    route
	whip     endpoint
	whep     endpoint
	delays   samples

	mu         sync.Mutex // guards the lists, for the feedback goroutine
	publishers []*publisher
	viewers    []*viewer

	stop    context.CancelFunc
	running context.Context // ends with close; streams and feedback live by it
	tasks   sync.WaitGroup
}

// route is how the server is reached.
type route struct{ local, server netip.Addr }

// findRoute connects to the server of a URL, to learn which addresses lead there.
func findRoute(ctx context.Context, target string) (route, error) {
	address, err := hostPort(target)
	if err != nil {
		return route{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, signalTimeout)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return route{}, err
	}
	defer conn.Close()
	ip := func(a net.Addr) netip.Addr { return a.(*net.TCPAddr).AddrPort().Addr().Unmap() }
	return route{local: ip(conn.LocalAddr()), server: ip(conn.RemoteAddr())}, nil
}

// newLoad makes a load without clients. close ends it.
func newLoad(ctx context.Context, c Config, whip, whep string) (*load, error) {
	l := &load{config: c, client: newHTTPClient(max(c.Join, 8))}
	l.whip = endpoint{url: whip, token: c.Token, client: l.client}
	l.whep = endpoint{url: whep, token: c.Token, client: l.client}
	target := whip
	if target == "" {
		target = whep
	}
	var err error
	if l.route, err = findRoute(ctx, target); err != nil {
		return nil, err
	}
	if l.identity, err = newIdentity(c.Profile); err != nil {
		return nil, err
	}
	if l.poller, err = newPoller(); err != nil {
		return nil, err
	}
	l.running, l.stop = context.WithCancel(context.Background())
	l.tasks.Go(l.keepFeedback)
	return l, nil
}

// close makes every client leave, and returns when nothing of the load runs any more.
func (l *load) close() error {
	l.stop()
	l.tasks.Wait()
	err := l.leave()
	l.poller.close()
	l.client.CloseIdleConnections()
	return err
}

// leave closes all clients, several at once.
func (l *load) leave() error {
	var links []*link
	for _, v := range l.viewers {
		links = append(links, &v.link)
	}
	for _, p := range l.publishers {
		links = append(links, &p.link)
	}
	failures := make([]error, len(links))
	inParallel(len(links), 8, func(i int) { failures[i] = links[i].close() })
	return errors.Join(failures...)
}

// inParallel calls work for 0 to n-1 in several goroutines, and returns when all are done.
func inParallel(n, workers int, work func(i int)) {
	next := make(chan int)
	var wg sync.WaitGroup
	for range min(workers, n) {
		wg.Go(func() {
			for i := range next {
				work(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}

// keepFeedback sends the reports of all clients.
func (l *load) keepFeedback() {
	ticker := time.NewTicker(feedbackTick)
	defer ticker.Stop()
	for tick := 0; ; tick++ {
		select {
		case <-l.running.Done():
			return
		case now := <-ticker.C:
			l.feedback(tick%feedbackSlices, now)
		}
	}
}

func (l *load) feedback(slice int, now time.Time) {
	l.mu.Lock()
	publishers, viewers := l.publishers, l.viewers
	l.mu.Unlock()
	for i := slice; i < len(publishers); i += feedbackSlices {
		publishers[i].report(now)
	}
	for i := slice; i < len(viewers); i += feedbackSlices {
		viewers[i].feedback()
	}
	for _, v := range viewers {
		if v.asks() {
			v.requestLost(now)
		}
	}
}

// publish joins n publishers, which begin to send at once. Their frames fall at different moments.
func (l *load) publish(ctx context.Context, n int) error {
	start := time.Now()
	for i := range n {
		p := newPublisher()
		p.link = link{identity: l.identity, endpoint: l.whip.numbered(i + 1), route: l.route, receiver: p}
		if err := p.link.connect(ctx, l.poller, p.offer()); err != nil {
			return fmt.Errorf("publisher %d: %w", i+1, err)
		}
		l.mu.Lock()
		l.publishers = append(l.publishers, p)
		l.mu.Unlock()
		offset := l.config.Stream.frameInterval() * time.Duration(i) / time.Duration(n)
		frame := l.config.Stream.frameInterval()
		begin := start.Add(time.Since(start).Truncate(frame) + frame + offset)
		l.tasks.Go(func() { p.play(l.running, l.config.Stream, begin) })
	}
	return nil
}

// watch joins n viewers, Join of them at once. The last ones are those that will misbehave; they are not sampled.
func (l *load) watch(ctx context.Context, n int) error {
	viewers, failures := make([]*viewer, n), make([]error, n)
	every := max(1, n/delaySampled)
	inParallel(n, l.config.Join, func(i int) {
		well := i < n-l.config.Stalled-l.config.Slow
		v := newViewer(well && i%every == 0, l.config.NACK, well, &l.delays)
		v.link = link{identity: l.identity, endpoint: l.whep.numbered(i%max(len(l.publishers), 1) + 1), route: l.route, receiver: v}
		if ctx.Err() != nil {
			failures[i] = ctx.Err()
			return
		}
		if err := v.link.connect(ctx, l.poller, offer{}); err != nil {
			failures[i] = fmt.Errorf("viewer %d: %w", i+1, err)
			return
		}
		viewers[i] = v
		l.mu.Lock()
		l.viewers = append(l.viewers, v)
		l.mu.Unlock()
	})
	if err := errors.Join(failures...); err != nil {
		return err
	}
	l.mu.Lock()
	l.viewers = viewers // in order
	l.mu.Unlock()
	return nil
}

// awaitMedia waits until every viewer has had its first frame, and returns how many have not in time.
func (l *load) awaitMedia(ctx context.Context) (without int) {
	ctx, cancel := context.WithTimeout(ctx, 2*l.config.Stream.GOP+5*time.Second)
	defer cancel()
	for _, v := range l.viewers {
		select {
		case <-v.first:
		case <-ctx.Done():
			without++
		}
	}
	return without
}

// wellBehaved are the viewers whose figures count.
func (l *load) wellBehaved() []*viewer {
	return l.viewers[:len(l.viewers)-l.config.Stalled-l.config.Slow]
}

// misbehave lets the last viewers stall, and those before them be slow.
func (l *load) misbehave() {
	bad := l.viewers[len(l.wellBehaved()):]
	for i, v := range bad {
		if i < l.config.Slow {
			v.behave(conductSlow, l.config.Stream.BitrateBps/10)
			continue
		}
		v.behave(conductStalled, 0)
	}
}
