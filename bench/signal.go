package bench

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	signalTimeout  = 10 * time.Second // of one HTTP request
	maxAnswerBytes = 256 << 10        // far above any answer
	maxProblem     = 300              // bytes of a refusal's body that go into the error
)

// endpoint is a WHIP or WHEP URL with its credential.
type endpoint struct {
	url, token string
	client     *http.Client
}

// numbered replaces {n} in URL and token by a publisher's number.
func (e endpoint) numbered(n int) endpoint {
	number := strconv.Itoa(n)
	e.url = strings.ReplaceAll(e.url, "{n}", number)
	e.token = strings.ReplaceAll(e.token, "{n}", number)
	return e
}

// resource is what a POST made.
type resource struct {
	answer   string
	location string    // absolute URL; "" when the server gave none
	posted   time.Time // when the POST began
}

// post offers and returns the answer (RFC 9725 section 4.2).
func (e endpoint) post(ctx context.Context, offer string) (resource, error) {
	r := resource{posted: time.Now()}
	ctx, cancel := context.WithTimeout(ctx, signalTimeout)
	defer cancel()
	response, err := e.do(ctx, http.MethodPost, e.url, offer)
	if err != nil {
		return r, fmt.Errorf("post %s: %w", e.url, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswerBytes))
	if err != nil {
		return r, fmt.Errorf("post %s: %w", e.url, err)
	}
	if response.StatusCode != http.StatusCreated && response.StatusCode != http.StatusOK {
		return r, fmt.Errorf("post %s: status %s: %.*s", e.url, response.Status, maxProblem, body)
	}
	r.answer = string(body)
	if location := response.Header.Get("Location"); location != "" {
		at, err := response.Request.URL.Parse(location)
		if err != nil {
			return r, fmt.Errorf("post %s: Location: %w", e.url, err)
		}
		r.location = at.String()
	}
	return r, nil
}

// remove deletes the session's resource. It takes its own time, because the run's context may have ended.
func (e endpoint) remove(location string) error {
	if location == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), signalTimeout)
	defer cancel()
	response, err := e.do(ctx, http.MethodDelete, location, "")
	if err != nil {
		return fmt.Errorf("delete %s: %w", location, err)
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, maxAnswerBytes)) // lets the connection be used again
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("delete %s: status %s", location, response.Status)
	}
	return nil
}

func (e endpoint) do(ctx context.Context, method, target, body string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, target, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/sdp")
	}
	if e.token != "" {
		request.Header.Set("Authorization", "Bearer "+e.token)
	}
	return e.client.Do(request)
}

// newHTTPClient keeps as many connections open as sessions may join or leave at once.
func newHTTPClient(connections int) *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections, MaxConnsPerHost: connections}}
}

// hostPort is where a URL leads, with the default port of its scheme.
func hostPort(target string) (string, error) {
	u, err := url.Parse(target)
	if err != nil {
		return "", err
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return "", fmt.Errorf("%q is not an http or https URL", target)
	}
	if u.Port() != "" {
		return u.Host, nil
	}
	return u.Hostname() + ":" + u.Scheme, nil // package net knows both names as ports
}
