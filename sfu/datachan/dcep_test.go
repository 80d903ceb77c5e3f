package datachan

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestOpenRoundTrip(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]Parameters{
		"reliable":             {Label: "chat", Protocol: "json", Ordered: true},
		"unordered":            {Label: "chat"},
		"retransmits":          {Label: "a", MaxRetransmits: new(uint16(3)), Ordered: true},
		"none":                 {Label: "b", MaxRetransmits: new(uint16(0))},
		"lifetime":             {Label: "c", MaxLifetime: new(500 * time.Millisecond)},
		"no names":             {Ordered: true},
		"longest names":        {Label: strings.Repeat("é", MaxNameBytes/2), Protocol: strings.Repeat("p", MaxNameBytes)},
		"lifetime and ordered": {MaxLifetime: new(time.Duration(0)), Ordered: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			message := marshalOpen(p)
			got, err := parseOpen(message)
			require.NoError(t, err)
			assert.True(t, p.Equal(got), "%+v, want %+v", got, p)
			for n := range message {
				_, err := parseOpen(message[:n])
				require.ErrorIs(t, err, errOpen, "first %d bytes", n)
			}
			_, err = parseOpen(append(message, 0))
			require.ErrorIs(t, err, errOpen, "a byte too many")
		})
	}
}

func TestParseOpenRefuses(t *testing.T) {
	t.Parallel()
	valid := marshalOpen(Parameters{Label: "chat", Ordered: true})
	for name, change := range map[string]func(m []byte) []byte{
		"another message":   func(m []byte) []byte { m[0] = dcepACK; return m },
		"unknown type":      func(m []byte) []byte { m[1] = 3; return m },
		"label not UTF-8":   func(m []byte) []byte { m[openHeaderBytes] = 0xff; return m },
		"label too long":    func([]byte) []byte { return marshalOpen(Parameters{Label: strings.Repeat("x", MaxNameBytes+1)}) },
		"protocol too long": func([]byte) []byte { return marshalOpen(Parameters{Protocol: strings.Repeat("x", MaxNameBytes+1)}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := parseOpen(change(append([]byte{}, valid...)))
			require.ErrorIs(t, err, errOpen)
		})
	}
}

func TestNegotiatedLabel(t *testing.T) {
	t.Parallel()
	for label, want := range map[string]int{"#0": 0, "#7": 7, "#65534": 65534, "#65535": -1, "#07": -1, "#": -1, "": -1, "7": -1, "#-1": -1, "#+1": -1, "#a": -1} {
		id, ok := NegotiatedID(label)
		assert.Equal(t, want >= 0, ok, label)
		if ok {
			assert.Equal(t, uint16(want), id)
			assert.Equal(t, label, NegotiatedLabel(id))
		}
	}
}

// FuzzParseOpen wants what is parsed to survive the way back.
func FuzzParseOpen(f *testing.F) {
	f.Add(marshalOpen(Parameters{Label: "chat", Protocol: "json", Ordered: true}))
	f.Add(marshalOpen(Parameters{Label: "#7", MaxRetransmits: new(uint16(3))}))
	f.Add(marshalOpen(Parameters{MaxLifetime: new(time.Second)}))
	f.Add([]byte{dcepACK})
	f.Add([]byte{dcepOpen, 0x82, 1, 0, 0xff, 0xff, 0xff, 0xff, 0, 1, 0, 0, 'x'})
	f.Fuzz(func(t *testing.T, message []byte) {
		p, err := parseOpen(message)
		if err != nil {
			return
		}
		again, err := parseOpen(marshalOpen(p))
		require.NoError(t, err)
		assert.True(t, p.Equal(again))
		assert.False(t, p.MaxRetransmits != nil && p.MaxLifetime != nil)
	})
}
