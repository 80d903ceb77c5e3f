package webhook

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/time/rate"
)

// DefaultLimit is how many webhooks a set holds unless Config says otherwise.
const DefaultLimit = 32

// Config configures a Set. The zero value is good.
type Config struct {
	Dir    string // the webhooks are kept there, in a file that only its owner can read; "" = they end with the process
	Rule   Rule
	Limit  int          // webhooks; 0 = DefaultLimit
	Logger *slog.Logger // nil = no logs
}

// Set is the webhooks of a node. It is safe for concurrent use. Close ends it.
type Set struct {
	cfg     Config
	log     *slog.Logger
	lossLog *rate.Limiter
	client  *client
	post    func(ctx context.Context, url string, secret Secret, id string, body []byte) (status int, err error)

	delivered, failed, dropped, expired atomic.Uint64 // of all webhooks, removed ones included

	stop    chan struct{} // closed by Close
	closing sync.Once

	// changing makes a change of the file and of hooks one step. It is taken before mu.
	changing sync.Mutex
	// mu guards the fields below.
	mu     sync.Mutex
	hooks  map[string]*hook
	closed bool
}

// Open restores the webhooks that are kept in cfg.Dir and starts delivering to them.
func Open(cfg Config) (*Set, error) {
	registrations, err := load(cfg.Dir)
	if err != nil {
		return nil, err
	}
	s := NewSet(cfg)
	for _, r := range registrations {
		s.hooks[r.ID] = s.start(r)
	}
	return s, nil
}

// NewSet returns an empty set; it starts nothing before the first Add. Unlike Open it does not look into cfg.Dir.
func NewSet(cfg Config) *Set {
	if cfg.Limit == 0 {
		cfg.Limit = DefaultLimit
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Set{
		cfg: cfg, log: cfg.Logger, client: newClient(cfg.Rule), lossLog: rate.NewLimiter(1, 1), // one line a second: receivers fail for long
		stop: make(chan struct{}), hooks: map[string]*hook{},
	}
	s.post = s.client.post
	return s
}

// Add registers a webhook for events of the types, of all types when there are none, and draws its secret if that is empty.
// The webhook is kept before Add returns.
func (s *Set) Add(ctx context.Context, url string, events []string, secret Secret) (Registration, error) {
	if err := s.cfg.Rule.CheckURL(ctx, url); err != nil {
		return Registration{}, err
	}
	if secret == "" {
		secret = NewSecret()
	}
	r := Registration{
		ID: uuid.Must(uuid.NewV7()).String(), URL: url, Events: slices.Clone(events), Secret: secret, CreatedAt: time.Now().UTC().Truncate(time.Second),
	}
	s.changing.Lock()
	defer s.changing.Unlock()
	list := s.registrations()
	if len(list) >= s.cfg.Limit {
		return Registration{}, fmt.Errorf("%d webhooks: %w", len(list), ErrLimit)
	}
	if err := save(s.cfg.Dir, append(list, r)); err != nil {
		return Registration{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.hooks[r.ID] = s.start(r)
	}
	return r, nil
}

// Remove forgets a webhook. When it returns, nothing is sent to it any more, and what waited is lost.
func (s *Set) Remove(id string) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	s.mu.Lock()
	h := s.hooks[id]
	s.mu.Unlock()
	if h == nil {
		return ErrNotFound
	}
	list := slices.DeleteFunc(s.registrations(), func(r Registration) bool { return r.ID == id })
	if err := save(s.cfg.Dir, list); err != nil {
		return err
	}
	s.mu.Lock()
	delete(s.hooks, id)
	s.mu.Unlock()
	h.remove()
	return nil
}

// Find returns a webhook.
func (s *Set) Find(id string) (Hook, error) {
	s.mu.Lock()
	h := s.hooks[id]
	s.mu.Unlock()
	if h == nil {
		return Hook{}, ErrNotFound
	}
	return h.snapshot(), nil
}

// List returns all webhooks, by id, which is the order in which they were registered.
func (s *Set) List() []Hook {
	var list []Hook
	for _, h := range s.all() {
		list = append(list, h.snapshot())
	}
	return list
}

// Len is the number of webhooks.
func (s *Set) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.hooks)
}

// Deliver queues the event for every webhook that wants it. It never waits.
func (s *Set) Deliver(e Event) {
	for _, h := range s.all() {
		if h.wants(e.Type) {
			h.push(e)
		}
	}
}

// Totals are the sums over all webhooks that there are or were; Queued is of those that there are.
func (s *Set) Totals() Status {
	total := Status{Delivered: s.delivered.Load(), Failed: s.failed.Load(), Dropped: s.dropped.Load(), Expired: s.expired.Load()}
	for _, h := range s.all() {
		for _, l := range h.lanes {
			total.Queued += l.waiting()
		}
	}
	return total
}

// Close tries what waits once more and returns when that is done; when ctx ends first, requests are cut off. What was not
// taken by then is lost. Close may be called twice.
func (s *Set) Close(ctx context.Context) {
	s.closing.Do(func() { close(s.stop) })
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	hooks := s.all()
	for _, h := range hooks {
		defer context.AfterFunc(ctx, h.cancel)()
	}
	for _, h := range hooks {
		h.running.Wait()
		h.cancel()
	}
	s.client.close()
}

func (s *Set) all() []*hook {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*hook, 0, len(s.hooks))
	for _, h := range s.hooks {
		list = append(list, h)
	}
	slices.SortFunc(list, func(a, b *hook) int { return cmp.Compare(a.ID, b.ID) })
	return list
}

func (s *Set) registrations() []Registration {
	var list []Registration
	for _, h := range s.all() {
		list = append(list, h.Registration)
	}
	return list
}
