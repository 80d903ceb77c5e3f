package wire

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// parsers parse each kind of message, and return it built anew.
var parsers = map[string]func([]byte) ([]byte, error){
	"probe": func(b []byte) ([]byte, error) {
		p, err := ParseProbe(b, false)
		return p.Append(nil), err
	},
	"sender report": func(b []byte) ([]byte, error) {
		r, err := ParseSenderReport(b)
		return r.Append(nil), err
	},
	"flags": func(b []byte) (out []byte, err error) {
		flags, err := ParseFlags(nil, b)
		for _, f := range flags {
			out = AppendFlag(out, f)
		}
		return out, err
	},
	"layers": func(b []byte) (out []byte, err error) {
		states, err := ParseLayerStates(nil, b)
		for _, s := range states {
			out = AppendLayerState(out, s)
		}
		return out, err
	},
	"nack": func(b []byte) ([]byte, error) {
		seqs, err := ParseNACK(nil, b)
		out, _ := AppendNACK(nil, seqs)
		return out, err
	},
}

// messages are examples of each kind.
var messages = map[string][]byte{
	"probe":         Probe{Nonce: 1, Time: 2, Next: 3}.Append(nil),
	"sender report": SenderReport{NTP: 1 << 60, RTPTime: 7}.Append(nil),
	"flags":         AppendFlag(AppendFlag(nil, Flag{Handle: 0xffffff, Set: true}), Flag{Handle: 2}),
	"layers":        AppendLayerState(nil, LayerState{Handle: 9, Active: true, Width: 1280, Height: 720, BitrateBps: 2_500_000, Spatial: 1, Temporal: 3}),
	"nack":          func() []byte { b, _ := AppendNACK(nil, []uint64{5, 6, 38, 39}); return b }(),
}

func TestMessages(t *testing.T) {
	for name, message := range messages {
		t.Run(name, func(t *testing.T) {
			again, err := parsers[name](message)
			require.NoError(t, err)
			require.Equal(t, message, again)
			for n := range message {
				if n > 0 && n%flagEntry == 0 && name == "flags" {
					continue // a list is a prefix of a longer one
				}
				if n > 0 && n%nackEntry == 0 && name == "nack" {
					continue
				}
				_, err := parsers[name](message[:n])
				require.ErrorIs(t, err, ErrMessage, "prefix of %d bytes", n)
			}
			_, err = parsers[name](make([]byte, MaxPayload+40))
			require.ErrorIs(t, err, ErrMessage, "too long")
		})
	}
}

func FuzzMessages(f *testing.F) {
	for _, message := range messages {
		f.Add(message)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for name, parse := range parsers {
			out, err := parse(b)
			if err == nil && name != "flags" && name != "layers" && name != "nack" { // those have bits that mean nothing, and forms that say the same
				require.Equal(t, b, out, name)
			}
		}
	})
}
