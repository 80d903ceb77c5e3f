package api

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"
)

var (
	errBadRequest = errors.New("bad request")
	errMediaType  = errors.New("unsupported media type")
)

// bodyError is a body that is JSON, or nearly, with fields that cannot be used.
type bodyError struct{ fields []FieldError }

func (e *bodyError) Error() string { return e.fields[0].Field + ": " + e.fields[0].Message }
func (e *bodyError) Unwrap() error { return errBadRequest }

func fieldError(field, format string, args ...any) error {
	return &bodyError{fields: []FieldError{{Field: field, Message: fmt.Sprintf(format, args...)}}}
}

// readJSON decodes the request's body into v: one JSON value of the right shape, no unknown fields, nothing after it.
func (s *Server) readJSON(c echo.Context, v any) error {
	return s.readJSONUpTo(c, v, int64(s.limits.Load().MaxJSONBytes))
}

// readJSONUpTo is readJSON with a limit of the resource's own.
func (s *Server) readJSONUpTo(c echo.Context, v any, limit int64) error {
	r := c.Request()
	if mediaType, _, err := mime.ParseMediaType(r.Header.Get(echo.HeaderContentType)); err != nil || mediaType != echo.MIMEApplicationJSON {
		return &mediaTypeError{accept: echo.MIMEApplicationJSON}
	}
	if encoding := r.Header.Get(echo.HeaderContentEncoding); encoding != "" && encoding != "identity" {
		return fmt.Errorf("content encoding %s: %w", encoding, errMediaType)
	}
	if r.ContentLength > limit { // before the client is told to go on
		return &http.MaxBytesError{Limit: limit}
	}
	decoder := json.NewDecoder(http.MaxBytesReader(c.Response(), r.Body, limit))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(v); err != nil {
		return explainJSON(err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			return err
		}
		return fmt.Errorf("body has more than one JSON value: %w", errBadRequest)
	}
	return nil
}

// explainJSON names the field that a decoder's error is about, in words that do not depend on Go types.
func explainJSON(err error) error {
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return err
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		field := wrong.Field
		if field == "" {
			field = "body"
		}
		return fieldError(field, "must not be a JSON %s", wrong.Value)
	}
	if _, ok := errors.AsType[base64.CorruptInputError](err); ok {
		return fieldError("binary", "is not base64")
	}
	// encoding/json has no type for this error (Go 1.26)
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return fieldError(strings.Trim(name, `"`), "unknown field")
	}
	return fmt.Errorf("body is not JSON: %w", errBadRequest)
}

// mediaTypeError is a body of another type than the resource takes; Accept tells which that is (RFC 9110 section 12.5.1).
type mediaTypeError struct{ accept string }

func (e *mediaTypeError) Error() string { return "content type must be " + e.accept }
func (e *mediaTypeError) Unwrap() error { return errMediaType }

func (e *mediaTypeError) Header() http.Header { return http.Header{"Accept": {e.accept}} }
