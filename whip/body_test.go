package whip

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"rheomesh/sfu"
)

func FuzzEventNames(f *testing.F) {
	for _, seed := range []string{"", "[]", "null", `["active"]`, `["active","layers","reconnect"]`, `["scte35"]`, `{"a":1}`, `[1]`, `["active"]x`, "[null]"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		names, err := parseEventNames(body)
		if err != nil {
			require.ErrorIs(t, err, ErrBodyInvalid)
			return
		}
		for _, name := range names {
			require.Contains(t, eventNames, name)
		}
		if len(body) > 0 {
			require.True(t, json.Valid(body))
		}
	})
}

func TestEveryPrefixOfABodyFails(t *testing.T) {
	const selection = `{"mediaId":"1","rid":"h","maxWidth":640}`
	for i := range selection {
		_, _, err := parseLayerRequest([]byte(selection[:i]))
		require.ErrorIs(t, err, ErrBodyInvalid, selection[:i])
	}
	const names = `["active","layers"]`
	for i := 1; i < len(names); i++ { // empty means all
		_, err := parseEventNames([]byte(names[:i]))
		require.ErrorIs(t, err, ErrBodyInvalid, names[:i])
	}
}

func FuzzLayerRequest(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"mediaId":1}`, `{"mediaId":"1","rid":"h"}`, `{"encodingId":"l","spatialLayerId":2}`, `{"maxWidth":-1}`,
		`{"mediaId":1e2}`, `{"mediaId":null}`, `{"mediaId":{}}`, `null`, `[]`, ``, ` {"x":[{}]} `, `{"mediaId":-1}`, `{"maxHeight":1e99}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		medium, selection, err := parseLayerRequest(body)
		if err != nil {
			require.ErrorIs(t, err, ErrBodyInvalid)
			return
		}
		require.True(t, json.Valid(body))
		if medium != "" {
			// Written as a string, the same medium is found.
			again, _, err := parseLayerRequest(fmt.Appendf(nil, `{"mediaId":%s}`, jsonLine(string(medium))))
			require.NoError(t, err)
			require.Equal(t, medium, again)
		}
		for _, value := range []*int{selection.Spatial, selection.Temporal, selection.MaxSpatial, selection.MaxTemporal, selection.MaxWidth, selection.MaxHeight} {
			require.True(t, value == nil || *value >= 0)
		}
	})
}

func TestCredentials(t *testing.T) {
	for _, row := range []struct {
		header    string
		want      string
		presented bool
	}{
		{"", "", false},
		{" ", "", false},
		{"Bearer", "", false},
		{"Bearer ", "", false},
		{"Bearer undefined", "", false},
		{"bearer null", "", false},
		{"undefined", "", false},
		{"Bearer abc", "Bearer abc", true},
		{"bearer abc", "bearer abc", true},
		{"abc", "Bearer abc", true},
		{"Basic dTpw", "Basic dTpw", true},
	} {
		t.Run(strconv.Quote(row.header), func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, "/", nil)
			r.Header.Set("Authorization", row.header)
			fixed, presented := credentials(r)
			assert.Equal(t, row.presented, presented)
			assert.Equal(t, row.want, fixed.Header.Get("Authorization"))
			assert.Equal(t, row.header, r.Header.Get("Authorization"), "the request itself is left alone")
		})
	}
}

func TestErrorHeader(t *testing.T) {
	assert.Nil(t, ErrorHeader(nil))
	assert.Nil(t, ErrorHeader(sfu.ErrOfferInvalid))
	inner := withHeader(sfu.ErrDraining, "retry-after", "5")
	outer := withHeader(fmt.Errorf("subscribe: %w", inner), "Allow", "GET")
	assert.Equal(t, http.Header{"Retry-After": {"5"}, "Allow": {"GET"}}, ErrorHeader(fmt.Errorf("x: %w", outer)))
	assert.ErrorIs(t, outer, sfu.ErrDraining)
	assert.Equal(t, "subscribe: "+sfu.ErrDraining.Error(), outer.Error())
}

// TestErrorsHideSecrets: session ids and tokens are capabilities and stay out of error texts.
func TestErrorsHideSecrets(t *testing.T) {
	s := newServer(t, Config{Authorize: tokens})
	for _, method := range []string{http.MethodGet, http.MethodPatch, http.MethodDelete} {
		w := s.do(method, "/whep/live/cam/secretid", trickle, fragHeader)
		assert.NotContains(t, w.Body.String(), "secretid")
	}
	w := s.do(http.MethodPost, "/whip/live/cam", offerBody, sdpHeader, "Authorization: Bearer secretid")
	assert.NotContains(t, w.Body.String(), "secretid")
}

func TestMissLimiterIsBounded(t *testing.T) {
	s := newServer(t, Config{})
	limiter := &s.handler.misses
	now := testNow
	for i := range maxMissers + 10 {
		require.True(t, limiter.allow(testAddr(i), now))
		require.LessOrEqual(t, len(limiter.buckets), maxMissers)
	}
	// Addresses of one /64 share a bucket.
	refused := slices.ContainsFunc(make([]int, missBurst+1), func(int) bool { return !limiter.allow(testAddr6(), now) })
	assert.True(t, refused)
}
