package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

const (
	typeSDP  = "application/sdp"
	typeFrag = "application/trickle-ice-sdpfrag" // RFC 8840 §9

	// maxBodyBytes bounds what is read of a response; real answers are below 10 kB.
	maxBodyBytes = 1 << 20
	// maxRedirects bounds a chain, as browsers do with a few more.
	maxRedirects = 10

	// Pauses between attempts when the server names none.
	firstPause = 500 * time.Millisecond
	lastPause  = 8 * time.Second
)

// resource is the HTTP side of a session: the endpoint, and after post the session's own URL.
type resource struct {
	client *http.Client
	token  string

	location *url.URL // set by post, then constant
	links    []Link   // likewise
	header   http.Header
	postedAt time.Time // when the last attempt of post began

	mu   sync.Mutex // guards etag, which a restart replaces
	etag string
}

// exchange is one request and what came back.
type exchange struct {
	request  *http.Request
	response *http.Response
	body     []byte
}

// fail turns the exchange into an error.
func (x exchange) fail() *StatusError {
	return newStatusError(x.request, x.response, x.body, time.Now())
}

// send makes one request and reads the whole response.
func (r *resource) send(ctx context.Context, method, target string, header http.Header, body string) (exchange, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, target, strings.NewReader(body))
	if err != nil {
		return exchange{}, err
	}
	maps.Copy(request.Header, header)
	if r.token != "" {
		request.Header.Set("Authorization", "Bearer "+r.token)
	}
	response, err := r.client.Do(request)
	if err != nil {
		return exchange{}, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxBodyBytes))
	if err != nil {
		return exchange{}, fmt.Errorf("%s %s: %w", method, request.URL.Redacted(), err)
	}
	return exchange{request, response, answer}, nil
}

// post offers and returns the answer, waiting and asking again for at most retryFor.
func (r *resource) post(ctx context.Context, endpoint, offer string, retryFor time.Duration) (string, error) {
	deadline := time.Now().Add(retryFor)
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		answer, err := r.postOnce(ctx, endpoint, offer)
		var status *StatusError
		if !errors.As(err, &status) || !status.Temporary() {
			return answer, err
		}
		wait := pause
		if status.RetryAfter > 0 {
			wait = status.RetryAfter
		}
		if time.Now().Add(wait).After(deadline) {
			return "", err
		}
		if err := sleep(ctx, wait); err != nil {
			return "", errors.Join(err, status)
		}
	}
}

// sleep waits, or returns the cause why ctx ended before.
func sleep(ctx context.Context, wait time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// postOnce follows the redirects that keep the method, 307 and 308 (RFC 9725 §4.5; RFC 9110 §15.4.8),
// with the token: the server that redirects is the one it was meant for.
func (r *resource) postOnce(ctx context.Context, endpoint, offer string) (string, error) {
	header := http.Header{"Content-Type": {typeSDP}, "Accept": {typeSDP + ", application/problem+json"}}
	r.postedAt = time.Now()
	for range maxRedirects {
		x, err := r.send(ctx, http.MethodPost, endpoint, header, offer)
		if err != nil {
			return "", err
		}
		switch x.response.StatusCode {
		case http.StatusCreated:
			return r.created(x)
		case http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
			next, err := x.response.Location()
			if err != nil {
				return "", fmt.Errorf("redirect from %s: %w: %w", endpoint, ErrResponse, err)
			}
			endpoint = next.String()
		default:
			return "", x.fail()
		}
	}
	return "", fmt.Errorf("%w: more than %d redirects", ErrResponse, maxRedirects)
}

// created takes the session's URL, entity tag and links from a 201 (RFC 9725 §4.2).
func (r *resource) created(x exchange) (string, error) {
	location, err := x.response.Location() // resolves a relative one against the request's URL
	if err != nil {
		return "", fmt.Errorf("201 from %s: %w: %w", x.request.URL.Redacted(), ErrResponse, err)
	}
	r.location, r.header, r.links = location, x.response.Header, parseLinks(x.response.Header.Values("Link"))
	r.setETag(x.response.Header.Get("ETag"))
	if got := mediaType(x.response.Header); got != typeSDP {
		return "", fmt.Errorf("201 from %s: %w: content type %q", x.request.URL.Redacted(), ErrResponse, got)
	}
	return string(x.body), nil
}

// patch sends a fragment on the session's URL.
func (r *resource) patch(ctx context.Context, ifMatch, fragment string) (exchange, error) {
	header := http.Header{"Content-Type": {typeFrag}}
	if ifMatch != "" {
		header.Set("If-Match", ifMatch)
	}
	return r.send(ctx, http.MethodPatch, r.location.String(), header, fragment)
}

// delete ends the session on the server. One that the server has forgotten already is ended too.
func (r *resource) delete(ctx context.Context) error {
	if r.location == nil {
		return nil
	}
	x, err := r.send(ctx, http.MethodDelete, r.location.String(), nil, "")
	if err != nil {
		return err
	}
	switch x.response.StatusCode {
	case http.StatusOK, http.StatusNoContent, http.StatusNotFound, http.StatusGone:
		return nil
	}
	return x.fail()
}

func (r *resource) setETag(etag string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.etag = etag
}

func (r *resource) entityTag() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.etag
}
