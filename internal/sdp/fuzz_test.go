package sdp

import (
	"testing"
)

// What Parse accepts can be answered, and the answer can be read.
func FuzzParse(f *testing.F) {
	for _, name := range fixtures(f) {
		f.Add([]byte(load(f, name)))
	}
	f.Add([]byte(offerWith("a=rid:a send", "a=rid:b recv", "a=simulcast:send ~a,b;b recv b")))
	f.Add([]byte(offerWith("m=application 9 DTLS/SCTP 5000", "a=mid:1", "a=sctpmap:5000 webrtc-datachannel 1024")))
	f.Add([]byte(offerWith("a=ssrc-group:FID 1 2", "a=ssrc:1 cname:a", "a=rtcp-fb:* nack pli", "a=extmap:1/recvonly urn:x")))
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := Parse(text, DefaultLimits)
		if err != nil {
			if d != nil || !isOurs(err) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		for _, role := range []Role{Publish, Play} {
			if checkRole(d, role) != nil {
				continue
			}
			answer := answerTo(d, role).Marshal(d)
			again, err := Parse([]byte(answer), DefaultLimits)
			if err != nil {
				t.Fatalf("answer does not parse: %v\n%s", err, answer)
			}
			if len(again.Media) != len(d.Media) {
				t.Fatalf("answer with %d sections to %d", len(again.Media), len(d.Media))
			}
			for i, m := range again.Media {
				if m.MID != d.Media[i].MID || m.Active() && !d.Media[i].Active() {
					t.Fatalf("section %d does not answer its offer:\n%s", i, answer)
				}
			}
		}
	})
}

// What ParseCandidate accepts is written in a form that reads the same.
func FuzzParseCandidate(f *testing.F) {
	f.Add("1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw network-id 1")
	f.Add("candidate:3 1 TCP 1010827519 fe80::1%eth0 9 typ host tcptype active")
	f.Add("1 1 UDP 1677729535 203.0.113.7 54609 typ srflx raddr 0.0.0.0 rport 0")
	f.Add("9 0 udp 2113937151 4f1d2c3b.local 61021 typ host")
	f.Fuzz(func(t *testing.T, value string) {
		c, err := ParseCandidate(value)
		if err != nil {
			if !isOurs(err) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		again, err := ParseCandidate(c.Marshal())
		if err != nil || again.Marshal() != c.Marshal() {
			t.Fatalf("%q became %q: %v", value, c.Marshal(), err)
		}
	})
}
