package bench

import (
	"context"
	"errors"
	"sync"
	"time"
)

// runChurn measures joining and leaving.
func runChurn(ctx context.Context, c Config) (churn Churn, err error) {
	t, err := c.target(ctx)
	if err != nil {
		return churn, err
	}
	defer func() { err = errors.Join(err, t.stop()) }()
	l, err := newLoad(ctx, c, t.whip, t.whep)
	if err != nil {
		return churn, err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	if c.WHEP != "" || c.ownServer() {
		if err := l.publish(ctx, c.Publishers); err != nil {
			return churn, err
		}
	}
	if err := l.warmUp(ctx); err != nil {
		return churn, err
	}
	if churn.Before, err = t.usage(); err != nil {
		return churn, err
	}
	c.progress("joining and leaving for %s, %d at once", c.Churn, c.Join)
	if err := l.churn(ctx, &churn, t); err != nil {
		return churn, err
	}
	if err := l.rest(ctx); err != nil {
		return churn, err
	}
	churn.After, err = t.usage()
	churn.DescriptorsGrowth = churn.After.Descriptors - churn.Before.Descriptors
	churn.RSSGrowthKB = float64(churn.After.RSSBytes-churn.Before.RSSBytes) / 1e3
	return churn, err
}

// warmUp lets some sessions come and go, so that what the server allocates once is there before it is looked at.
func (l *load) warmUp(ctx context.Context) error {
	for i := range 2 * l.config.Join {
		if _, err := l.comeAndGo(ctx, i); err != nil {
			return err
		}
	}
	return l.rest(ctx)
}

// rest lets the server clean up. Connections that HTTP keeps open are closed before, so that they are not counted.
func (l *load) rest(ctx context.Context) error {
	l.client.CloseIdleConnections()
	return pause(ctx, 2*l.config.Settle)
}

// churn keeps Join clients joining and leaving until the time is over.
func (l *load) churn(ctx context.Context, churn *Churn, t *target) error {
	before, err := l.read(t.process)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, l.config.Churn)
	defer cancel()
	outcomes := churnOutcomes{}
	var wg sync.WaitGroup
	for i := range l.config.Join {
		wg.Go(func() {
			for n := i; ctx.Err() == nil; n += l.config.Join {
				// The run's own context does not cut a session short: one that has begun is counted to its end.
				outcomes.add(l.comeAndGo(context.WithoutCancel(ctx), n))
			}
		})
	}
	wg.Wait()
	after, err := l.read(t.process)
	if err != nil {
		return err
	}
	outcomes.fill(churn, after.since(before), after.at.Sub(before.at))
	churn.Clients = l.config.Join
	if churn.Sessions == 0 {
		return outcomes.first
	}
	return nil
}

// comeAndGo joins once and leaves again. It returns the time from POST to keys.
func (l *load) comeAndGo(ctx context.Context, n int) (time.Duration, error) {
	var session link
	var describe offer
	if l.whep.url == "" {
		p := newPublisher()
		session = link{endpoint: l.whip.numbered(n + 1), receiver: p}
		describe = p.offer()
	} else {
		session = link{endpoint: l.whep.numbered(1), receiver: deaf{}}
	}
	session.identity, session.route = l.identity, l.route
	if err := session.connect(ctx, l.poller, describe); err != nil {
		return 0, err
	}
	return session.setup, session.close()
}

// deaf is a receiver that wants nothing.
type deaf struct{}

func (deaf) connected(*keys)  {}
func (deaf) media([]datagram) {}

// churnOutcomes collects sessions. It is safe for concurrent use.
type churnOutcomes struct {
	mu     sync.Mutex // guards all below
	setups []time.Duration
	failed uint64
	first  error
}

func (o *churnOutcomes) add(setup time.Duration, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err == nil {
		o.setups = append(o.setups, setup)
		return
	}
	o.failed++
	if o.first == nil {
		o.first = err
	}
}

func (o *churnOutcomes) fill(c *Churn, d reading, length time.Duration) {
	c.Sessions, c.Failed, c.Seconds = uint64(len(o.setups)), o.failed, length.Seconds()
	if o.first != nil {
		c.FirstFailure = o.first.Error()
	}
	c.PerSecond = per(float64(c.Sessions), c.Seconds)
	c.ServerMSPerSess, c.LoadMSPerSess = per(milliseconds(d.server), c.Sessions), per(milliseconds(d.load), c.Sessions)
	c.Connect = spread(o.setups)
}
