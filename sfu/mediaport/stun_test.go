package mediaport

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/pion/stun/v4"
	"github.com/stretchr/testify/require"
)

func TestClassifySTUN(t *testing.T) {
	longest := message(stun.TransactionID, stun.BindingRequest, stun.RawAttribute{Type: stun.AttrSoftware, Value: make([]byte, stunMaxBytes-24)})
	require.Len(t, longest, stunMaxBytes)
	with := func(offset int, b ...byte) []byte {
		changed := bytes.Clone(request("us:them"))
		copy(changed[offset:], b)
		return changed
	}
	tests := []struct {
		name string
		data []byte
		want stunKind
	}{
		{"request", request("us:them"), stunByUsername},
		{"success response", responseTo(7), stunByTransaction},
		{"error response", message(stun.TransactionID, stun.BindingError, stun.CodeRoleConflict), stunByTransaction},
		{"indication", message(stun.TransactionID, stun.NewType(stun.MethodBinding, stun.ClassIndication)), stunByAddress},
		{"TURN request", message(stun.TransactionID, stun.NewType(stun.MethodAllocate, stun.ClassRequest), stun.NewUsername("us:them")), stunInvalid},
		{"header only", message(stun.TransactionID, stun.BindingRequest), stunByUsername},
		{"longest", longest, stunByUsername},
		{"too long", message(stun.TransactionID, stun.BindingRequest, stun.RawAttribute{Type: stun.AttrSoftware, Value: make([]byte, stunMaxBytes-20)}), stunInvalid},
		{"wrong cookie", with(4, 0), stunInvalid},
		{"length too small", with(2, 0, 0), stunInvalid},
		{"length too large", with(2, 0xff, 0xfc), stunInvalid},
		{"one byte more", append(request("us:them"), 0), stunInvalid},
		{"empty", nil, stunInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { require.Equal(t, tt.want, classifySTUN(tt.data)) })
	}
}

func TestLocalUfrag(t *testing.T) {
	raw := func(attributes ...byte) []byte { return append(make([]byte, stunHeaderBytes), attributes...) }
	tests := []struct {
		name string
		data []byte
		want string // empty: none
	}{
		{"first attribute", request("us:them"), "us"},
		{"after a padded attribute", message(stun.TransactionID, stun.BindingRequest, stun.NewSoftware("five!"), stun.NewUsername("us:them")), "us"},
		{"colon only", request(":them"), ""},
		{"nothing after the colon", request("us:"), "us"},
		{"two colons", request("us:them:more"), "us"},
		{"no colon", request("us"), ""},
		{"no user name", message(stun.TransactionID, stun.BindingRequest, stun.NewSoftware("x")), ""},
		{"no attributes", raw(), ""},
		{"attribute longer than the message", raw(0, 6, 0, 9, 'u', ':', 't', 0), ""},
		{"padding missing", raw(0, 1, 0, 1, 'x', 0, 6), ""},
		{"last attribute unpadded", raw(0, 6, 0, 2, 'u', ':'), "u"},
		{"empty attributes", raw(0, 1, 0, 0, 0, 1, 0, 0, 0, 6, 0, 2, 'u', ':'), "u"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := localUfrag(tt.data)
			require.Equal(t, tt.want, string(got))
			require.Equal(t, tt.want != "", ok)
		})
	}
}

func TestSTUNPrefixes(t *testing.T) {
	whole := message(stun.TransactionID, stun.BindingRequest, stun.NewSoftware("rheo"), stun.NewUsername("us:them"), stun.Fingerprint)
	for n := range len(whole) {
		require.Equal(t, stunInvalid, classifySTUN(whole[:n]), "%d bytes", n)
		if n >= stunHeaderBytes {
			ufrag, ok := localUfrag(whole[:n])
			require.Equal(t, ok, string(ufrag) == "us", "%d bytes", n)
		}
	}
}

// FuzzSTUN holds routing against pion's decoder: what pion can decode and finds a user name in is routed by the same name.
func FuzzSTUN(f *testing.F) {
	f.Add(request("us:them"))
	f.Add(responseTo(1))
	f.Add(message(stun.TransactionID, stun.BindingRequest, stun.NewSoftware("five!"), stun.NewUsername("us:them")))
	f.Add([]byte{0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42})
	f.Fuzz(func(t *testing.T, data []byte) {
		if classifySTUN(data) != stunByUsername {
			return
		}
		got, ok := localUfrag(data)
		if ok && (len(got) == 0 || bytes.IndexByte(got, ':') >= 0) {
			t.Fatalf("ufrag %q", got)
		}
		m := &stun.Message{Raw: bytes.Clone(data)}
		if binary.BigEndian.Uint16(data[2:])%4 != 0 || m.Decode() != nil {
			return
		}
		// RFC 8489 section 14.5 has attributes behind MESSAGE-INTEGRITY ignored, which routing does not care about: the endpoint authenticates.
		if username, err := m.Get(stun.AttrUsername); err == nil {
			want, _, found := bytes.Cut(username, []byte{':'})
			if found = found && len(want) > 0; found != ok || found && !bytes.Equal(want, got) {
				t.Fatalf("got %q %v, want %q %v", got, ok, want, found)
			}
		}
	})
}
