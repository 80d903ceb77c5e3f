package webhook

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

const (
	admissionTimeout = 2 * time.Second // for the whole request: a client waits for its answer meanwhile
	maxQuestions     = 64              // under way at once; further ones wait for their turn within the same timeout
	maxAgentBytes    = 256             // of a user agent, whose length its client chooses
)

// Question is what the admission receiver is asked.
type Question struct {
	Action    string `json:"action"` // publish, play
	Role      string `json:"role"`   // of the session to be: publish, subscribe
	Router    string `json:"router"`
	Publisher string `json:"publisher"`
	ClientIP  string `json:"client_ip"`
	UserAgent string `json:"user_agent"`
}

// AdmissionConfig configures an Admission. URL is required.
type AdmissionConfig struct {
	// URL is the receiver's. Whoever configures the node chose it, so it may be private.
	URL      string
	Secret   Secret       // signs the questions; empty = they are not signed
	FailOpen bool         // admit when the receiver gives no usable answer
	Logger   *slog.Logger // nil = no logs
}

// Admission asks a receiver whom to admit. It is safe for concurrent use.
type Admission struct {
	cfg     AdmissionConfig
	log     *slog.Logger
	failLog *rate.Limiter
	client  *client
	slots   chan struct{} // capacity maxQuestions: one token for each question under way

	admitted, refused, failed atomic.Uint64
}

// NewAdmission checks cfg. It starts nothing.
func NewAdmission(cfg AdmissionConfig) (*Admission, error) {
	if _, err := receiverHost(cfg.URL); err != nil {
		return nil, fmt.Errorf("admission webhook: %w", err)
	}
	if cfg.Secret != "" {
		if _, err := ParseSecret(string(cfg.Secret)); err != nil {
			return nil, fmt.Errorf("admission webhook: secret: %w", err)
		}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Admission{
		cfg: cfg, log: cfg.Logger, client: newClient(Rule{AllowPrivate: true}), slots: make(chan struct{}, maxQuestions),
		failLog: rate.NewLimiter(1, 1), // one line a second
	}, nil
}

// Ask returns nil when the receiver admits, else an error that wraps ErrRefused or ErrUnavailable. It takes two seconds at most.
func (a *Admission) Ask(ctx context.Context, q Question) error {
	ctx, cancel := context.WithTimeout(ctx, admissionTimeout)
	defer cancel()
	status, err := a.ask(ctx, q)
	switch {
	case err == nil && status/100 == 2:
		a.admitted.Add(1)
		return nil
	case err == nil && (status == http.StatusForbidden || status == http.StatusUnauthorized):
		a.refused.Add(1)
		return ErrRefused
	}
	a.failed.Add(1)
	if a.failLog.Allow() {
		a.log.Warn("admission webhook failed", "err", describe(status, err), "fail_open", a.cfg.FailOpen)
	}
	if a.cfg.FailOpen {
		return nil
	}
	return ErrUnavailable
}

func (a *Admission) ask(ctx context.Context, q Question) (status int, err error) {
	select {
	case a.slots <- struct{}{}:
		defer func() { <-a.slots }()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	q.UserAgent = strings.ToValidUTF8(q.UserAgent[:min(len(q.UserAgent), maxAgentBytes)], "")
	body, err := json.Marshal(q)
	if err != nil {
		return 0, errors.New("question is no JSON") // strings always are
	}
	return a.client.post(ctx, a.cfg.URL, a.cfg.Secret, "adm-"+rand.Text(), body)
}

// Answers counts the questions by what became of them: admitted, refused by the receiver, or without a usable answer.
func (a *Admission) Answers() (admitted, refused, failed uint64) {
	return a.admitted.Load(), a.refused.Load(), a.failed.Load()
}

// Close lets go of idle connections.
func (a *Admission) Close() { a.client.close() }
