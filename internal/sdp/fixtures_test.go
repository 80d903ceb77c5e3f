package sdp

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// testFingerprint is a SHA-256 digest of nothing in particular.
var testFingerprint = Fingerprint{
	Algorithm: "sha-256",
	Value: "0B:57:AA:01:9C:3D:E4:62:18:F0:7B:C5:2E:91:D8:44:" +
		"6A:13:BF:80:5D:E7:29:9A:34:C1:0F:76:EB:52:88:1D",
}

// testAnswer is a complete identity without media.
func testAnswer(role Role) *Answer {
	return &Answer{
		SessionID:   4611686018427387904,
		Role:        role,
		ICE:         ICE{Ufrag: "srv1", Pwd: "serverserverserverserver"},
		Fingerprint: testFingerprint,
		Candidates: []string{
			"1 1 udp 2130706431 192.0.2.1 10000 typ host",
			"2 1 tcp 1518280447 192.0.2.1 10000 typ host tcptype passive",
		},
	}
}

// answerTo accepts all that the offer has to give.
func answerTo(offer *Description, role Role) *Answer {
	a := testAnswer(role)
	a.Setup = AnswerSetup(offer.Setup, false)
	for i, m := range offer.Media {
		var ours AnswerMedia
		switch {
		case m.Kind == Application:
			ours.MaxMessageSize = 65536
		case role == Publish:
			ours.Codecs, ours.Extensions, ours.RIDs = PublishCodecs(m), PublishExtensions(m), m.SimulcastSend
		default:
			a.StreamID = "cam1"
			ours.Codecs, ours.Extensions = PlayCodecs(m), PlayExtensions(m)
			ours.SSRC, ours.CNAME = uint32(1000*(i+1)), "cname1"
			if m.Kind == Video {
				ours.RTXSSRC = ours.SSRC + 1
			}
		}
		a.Media = append(a.Media, ours)
	}
	return a
}

// fixtures are the names of all offers in testdata, without extension.
func fixtures(t testing.TB) []string {
	paths, err := filepath.Glob("testdata/*.sdp")
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	names := make([]string, len(paths))
	for i, path := range paths {
		names[i] = strings.TrimSuffix(filepath.Base(path), ".sdp")
	}
	return names
}

// roleOf tells from the name of a fixture which kind of client made it.
func roleOf(name string) Role {
	if strings.Contains(name, "_play") {
		return Play
	}
	return Publish
}

func checkRole(d *Description, role Role) error {
	if role == Play {
		return CheckPlay(d)
	}
	return CheckPublish(d)
}

func load(t testing.TB, name string) string {
	text, err := os.ReadFile(filepath.Join("testdata", name+".sdp"))
	require.NoError(t, err)
	return string(text)
}

func parsed(t testing.TB, name string) *Description {
	d, err := Parse([]byte(load(t, name)), DefaultLimits)
	require.NoError(t, err)
	return d
}

// names lists "pt name" of codecs.
func names(codecs []Codec) string {
	var list []string
	for _, c := range codecs {
		list = append(list, c.Name)
	}
	return strings.Join(list, " ")
}

// offer is a minimal offer with one audio section, to which tests add lines.
func offerWith(lines ...string) string {
	return strings.Join(append([]string{
		"v=0", "o=- 1 2 IN IP4 127.0.0.1", "s=-", "t=0 0",
		"m=audio 9 UDP/TLS/RTP/SAVPF 111",
		"a=mid:0", "a=sendonly", "a=setup:actpass",
		"a=ice-ufrag:abcd", "a=ice-pwd:abcdefghijklmnopqrstuv",
		"a=fingerprint:" + testFingerprint.Algorithm + " " + testFingerprint.Value,
		"a=rtpmap:111 opus/48000/2",
	}, lines...), "\n") + "\n"
}

// without drops the lines that start with prefix.
func without(text, prefix string) string {
	var kept strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, prefix) {
			kept.WriteString(line)
		}
	}
	return kept.String()
}
