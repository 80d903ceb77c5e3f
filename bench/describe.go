package bench

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"rheomesh/internal/sdp"
)

// Payload types of our offers, those that Chromium uses.
const (
	ptOpus    = 111
	ptVP8     = 96
	ptVP8RTX  = 97
	ptH264    = 102
	ptH264RTX = 103
)

// isVideo and isRTX sort packets by payload type.
func isVideo(pt uint8) bool { return pt == ptH264 || pt == ptVP8 }
func isRTX(pt uint8) bool   { return pt == ptH264RTX || pt == ptVP8RTX }

const (
	audioSection = `m=audio 9 UDP/TLS/RTP/SAVPF 111
c=IN IP4 0.0.0.0
a=rtcp:9 IN IP4 0.0.0.0
%s
a=mid:0
a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid
a=%s
a=rtcp-mux
a=rtpmap:111 opus/48000/2
a=fmtp:111 minptime=10;useinbandfec=1
`
	videoSection = `m=video 9 UDP/TLS/RTP/SAVPF %s
c=IN IP4 0.0.0.0
a=rtcp:9 IN IP4 0.0.0.0
%s
a=mid:1
a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid
a=%s
a=rtcp-mux
a=rtcp-rsize
`
	h264Lines = `a=rtpmap:102 H264/90000
a=rtcp-fb:102 ccm fir
a=rtcp-fb:102 nack
a=rtcp-fb:102 nack pli
a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f
a=rtpmap:103 rtx/90000
a=fmtp:103 apt=102
`
	vp8Lines = `a=rtpmap:96 VP8/90000
a=rtcp-fb:96 ccm fir
a=rtcp-fb:96 nack
a=rtcp-fb:96 nack pli
a=rtpmap:97 rtx/90000
a=fmtp:97 apt=96
`
)

// offer is the description of one client. It follows Chromium's in form. It leaves out transport-wide congestion control,
// because nothing here would send that feedback, and a server that waits for it would hold media back.
type offer struct {
	sessionID   uint64
	credentials credentials
	fingerprint string
	candidate   netip.AddrPort
	// Set by publishers; a viewer's are zero.
	audioSSRC, videoSSRC, rtxSSRC uint32
}

func (o offer) publishes() bool { return o.videoSSRC != 0 }

func (o offer) marshal() string {
	var b strings.Builder
	fmt.Fprintf(&b, "v=0\no=- %d 2 IN IP4 127.0.0.1\ns=-\nt=0 0\na=group:BUNDLE 0 1\na=extmap-allow-mixed\na=msid-semantic: WMS *\n", o.sessionID)
	transport := o.transport()
	if o.publishes() {
		fmt.Fprintf(&b, audioSection, transport, "sendonly")
		o.source(&b, "audio", o.audioSSRC)
		fmt.Fprintf(&b, videoSection, "102 103", transport, "sendonly")
		b.WriteString(h264Lines)
		fmt.Fprintf(&b, "a=ssrc-group:FID %d %d\n", o.videoSSRC, o.rtxSSRC)
		o.source(&b, "video", o.videoSSRC, o.rtxSSRC)
	} else {
		fmt.Fprintf(&b, audioSection, transport, "recvonly")
		fmt.Fprintf(&b, videoSection, "102 103 96 97", transport, "recvonly")
		b.WriteString(h264Lines + vp8Lines)
	}
	return strings.ReplaceAll(b.String(), "\n", "\r\n")
}

func (o offer) source(b *strings.Builder, track string, ssrcs ...uint32) {
	fmt.Fprintf(b, "a=msid:bench %s\n", track)
	for _, ssrc := range ssrcs {
		fmt.Fprintf(b, "a=ssrc:%d cname:bench\na=ssrc:%d msid:bench %s\n", ssrc, ssrc, track)
	}
}

func (o offer) transport() string {
	candidate := sdp.HostCandidate(o.candidate, "udp", 65535)
	return "a=candidate:" + candidate.Marshal() + "\na=end-of-candidates\na=ice-ufrag:" + o.credentials.ufrag +
		"\na=ice-pwd:" + o.credentials.pwd + "\na=fingerprint:sha-256 " + o.fingerprint + "\na=setup:actpass"
}

// answerLimits are generous: the server is the one that is measured, and trusted.
var answerLimits = sdp.Limits{Bytes: maxAnswerBytes, Lines: 5000, LineBytes: 8192, MediaSections: 16, Candidates: 256, SSRCs: 256, RIDs: 16}

// answer is what the server's description says.
type answer struct {
	credentials credentials
	fingerprint sdp.Fingerprint
	dtlsClient  bool // we start the handshake: the server is passive
	candidates  []netip.AddrPort
	rtx         bool // the server takes retransmissions of the video
}

// parseAnswer reads an answer. Candidates come in the order to try them: those at the address that HTTP goes to, then by
// priority. Only those of its family can be reached through the session's socket.
func parseAnswer(text string, server netip.Addr) (answer, error) {
	d, err := sdp.Parse([]byte(text), answerLimits)
	if err != nil {
		return answer{}, err
	}
	a := answer{
		credentials: credentials{d.ICE.Ufrag, d.ICE.Pwd}, fingerprint: d.Fingerprint,
		dtlsClient: d.Setup != sdp.SetupActive, candidates: usable(d.Candidates, server),
	}
	if len(a.candidates) == 0 {
		return answer{}, fmt.Errorf("answer: none of its %d candidates is UDP in the address family of %s", len(d.Candidates), server)
	}
	for _, m := range d.Media {
		if m.Kind == sdp.Video && m.Active() {
			a.rtx = slices.ContainsFunc(m.Codecs, func(c sdp.Codec) bool { return c.PT == ptH264RTX })
		}
	}
	return a, nil
}

func usable(values []string, server netip.Addr) []netip.AddrPort {
	var candidates []sdp.Candidate
	for _, value := range values {
		c, err := sdp.ParseCandidate(value)
		if err == nil && c.Transport == "udp" && c.Component <= 1 && c.Address.IsValid() && c.Address.Addr().Is4() == server.Is4() {
			candidates = append(candidates, c)
		}
	}
	slices.SortStableFunc(candidates, func(a, b sdp.Candidate) int {
		if near := a.Address.Addr() == server; near != (b.Address.Addr() == server) {
			if near {
				return -1
			}
			return 1
		}
		return int(int64(b.Priority) - int64(a.Priority))
	})
	addrs := make([]netip.AddrPort, len(candidates))
	for i, c := range candidates {
		addrs[i] = c.Address
	}
	return slices.Compact(addrs)
}
