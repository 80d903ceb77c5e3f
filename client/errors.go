package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// ErrClosed says that the session was closed by us.
var ErrClosed = errors.New("session closed")

// ErrDisconnected says that the connection failed or that the server ended it.
var ErrDisconnected = errors.New("connection ended")

// ErrNoConnection says that ICE or DTLS did not succeed.
var ErrNoConnection = errors.New("connection not established")

// ErrResponse says that a successful response lacks what the protocol demands.
var ErrResponse = errors.New("response breaks the protocol")

// Problem is a problem document (RFC 9457). It is empty if the response had none.
type Problem struct {
	Type     string `json:"type"`
	Title    string `json:"title"`
	Status   int    `json:"status"`
	Detail   string `json:"detail"`
	Instance string `json:"instance"`
}

// StatusError is a response whose status is not the expected one.
type StatusError struct {
	Method, URL string
	Status      int
	Problem     Problem
	RetryAfter  time.Duration // from the header; zero if there is none
	Header      http.Header
	Body        string // as received, at most maxBodyBytes
}

// Error implements error.
func (e *StatusError) Error() string {
	text := fmt.Sprintf("%s %s: %d %s", e.Method, e.URL, e.Status, http.StatusText(e.Status))
	if e.Problem.Detail != "" {
		return text + ": " + e.Problem.Detail
	}
	if e.Problem.Title != "" {
		return text + ": " + e.Problem.Title
	}
	return text
}

// Temporary reports whether the same request may succeed later: a conflict, a rate limit or an overload.
func (e *StatusError) Temporary() bool {
	switch e.Status {
	case http.StatusConflict, http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return true
	}
	return false
}

// newStatusError reads the problem document and the pause out of a response.
func newStatusError(request *http.Request, response *http.Response, body []byte, now time.Time) *StatusError {
	e := &StatusError{
		Method: request.Method, URL: request.URL.Redacted(), Status: response.StatusCode,
		Header: response.Header, Body: string(body),
		RetryAfter: retryAfter(response.Header.Get("Retry-After"), now),
	}
	if mediaType(response.Header) == "application/problem+json" {
		_ = json.Unmarshal(body, &e.Problem) // a broken document leaves Body to look at
	}
	return e
}

// retryAfter reads the header in both its forms: seconds, or a date (RFC 9110 §10.2.3).
func retryAfter(value string, now time.Time) time.Duration {
	if seconds, err := strconv.Atoi(strings.TrimSpace(value)); err == nil && seconds > 0 {
		return time.Duration(min(seconds, 24*60*60)) * time.Second
	}
	if date, err := http.ParseTime(value); err == nil {
		return max(date.Sub(now), 0)
	}
	return 0
}

// mediaType is the media type of a message in lower case, without parameters; "" if unreadable.
func mediaType(header http.Header) string {
	media, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return media
}
