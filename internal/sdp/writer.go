package sdp

import (
	"fmt"
	"strconv"
	"strings"
)

// What the m= lines of data sections say (RFC 8841 §4): the second protocol is
// the one of its drafts, with `5000` as format.
const (
	sctpProtocol       = "UDP/DTLS/SCTP"
	legacySCTPProtocol = "DTLS/SCTP"
	dataChannelFormat  = "webrtc-datachannel"
)

// writer builds a description line by line.
type writer struct {
	strings.Builder
}

// line writes one line with its CRLF (RFC 8866 §5).
func (w *writer) line(format string, args ...any) {
	fmt.Fprintf(&w.Builder, format, args...)
	w.WriteString("\r\n")
}

// session writes what stands before the first section.
func (w *writer) session(id uint64, lite bool, bundle []string) {
	w.line("v=0")
	w.line("o=- %d 2 IN IP4 127.0.0.1", id)
	w.line("s=-")
	w.line("t=0 0")
	if len(bundle) > 0 {
		w.line("a=group:BUNDLE %s", strings.Join(bundle, " "))
	}
	w.line("a=msid-semantic: WMS *")
	if lite {
		w.line("a=ice-lite")
	}
	w.line("a=ice-options:trickle")
}

// rejected writes a section that is not in use (RFC 3264 §6).
func (w *writer) rejected(m Media) {
	w.line("m=%s 0 %s %s", m.Kind, m.Protocol, firstOf(m.format, "0"))
	w.line("c=IN IP4 0.0.0.0")
	if m.MID != "" {
		w.line("a=mid:%s", m.MID)
	}
	w.line("a=inactive")
}

// mediaLines is everything that one section says.
type mediaLines struct {
	kind                     Kind
	mid, protocol            string
	ice                      ICE
	fingerprint              Fingerprint
	setup                    Setup
	direction                Direction
	codecs                   []Codec
	extensions               []Extension
	reducedSize              bool
	mixedExtensions          bool
	rids                     []string
	simulcast                bool
	streamID, cname          string
	ssrc, rtxSSRC            uint32
	sctpPort, maxMessageSize int
}

func (w *writer) media(m mediaLines) {
	w.line("m=%s 9 %s %s", m.kind, m.protocol, m.formats())
	w.line("c=IN IP4 0.0.0.0")
	if m.mid != "" {
		w.line("a=mid:%s", m.mid)
	}
	w.line("a=ice-ufrag:%s", m.ice.Ufrag)
	w.line("a=ice-pwd:%s", m.ice.Pwd)
	w.line("a=fingerprint:%s %s", m.fingerprint.Algorithm, m.fingerprint.Value)
	w.line("a=setup:%s", m.setup)
	if m.kind == Application {
		w.data(m)
		return
	}
	w.line("a=%s", m.direction)
	w.line("a=rtcp-mux")
	w.line("a=rtcp-mux-only") // RFC 9725 §4.4.1 wants it of both sides
	if m.reducedSize {
		w.line("a=rtcp-rsize")
	}
	if m.mixedExtensions && len(m.extensions) > 0 {
		w.line("a=extmap-allow-mixed")
	}
	w.extensions(m.extensions)
	w.codecs(m.kind, m.codecs)
	w.rids(m.rids, m.simulcast)
	w.sources(m)
}

// formats is the format list of the m= line.
func (m mediaLines) formats() string {
	switch {
	case m.protocol == legacySCTPProtocol:
		return strconv.Itoa(m.port())
	case m.kind == Application:
		return dataChannelFormat
	}
	pts := make([]string, len(m.codecs))
	for i, c := range m.codecs {
		pts[i] = strconv.Itoa(int(c.PT))
	}
	return strings.Join(pts, " ")
}

// port is the SCTP port.
func (m mediaLines) port() int {
	if m.sctpPort == 0 {
		return defaultSCTPPort
	}
	return m.sctpPort
}

// data writes the attributes of a data section (RFC 8841 §5, §6).
func (w *writer) data(m mediaLines) {
	if m.protocol == legacySCTPProtocol {
		w.line("a=sctpmap:%d %s 1024", m.port(), dataChannelFormat)
	} else {
		w.line("a=sctp-port:%d", m.port())
	}
	if m.maxMessageSize > 0 {
		w.line("a=max-message-size:%d", m.maxMessageSize)
	}
}

func (w *writer) extensions(extensions []Extension) {
	for _, e := range extensions {
		if e.Direction == "" || e.Direction == SendRecv {
			w.line("a=extmap:%d %s", e.ID, e.URI)
			continue
		}
		w.line("a=extmap:%d/%s %s", e.ID, e.Direction, e.URI)
	}
}

func (w *writer) codecs(kind Kind, codecs []Codec) {
	for _, c := range codecs {
		channels := ""
		if c.Channels > 1 {
			channels = "/" + strconv.Itoa(c.Channels)
		}
		w.line("a=rtpmap:%d %s/%d%s", c.PT, c.Name, c.ClockRate, channels)
		for _, feedback := range c.Feedback {
			w.line("a=rtcp-fb:%d %s", c.PT, feedback)
		}
		fmtp := c.Fmtp
		if kind == Video {
			fmtp = stripSprop(fmtp)
		}
		if fmtp != "" {
			w.line("a=fmtp:%d %s", c.PT, fmtp)
		}
	}
}

// rids writes the encodings that we receive and, when the offer was simulcast,
// all of them in one line (RFC 8853 §5.3.2): OBS counts the semicolons.
func (w *writer) rids(rids []string, simulcast bool) {
	for _, rid := range rids {
		w.line("a=rid:%s recv", rid)
	}
	if simulcast && len(rids) > 0 {
		w.line("a=simulcast:recv %s", strings.Join(rids, ";"))
	}
}

// sources announces the streams that we send (RFC 8830, RFC 5576).
func (w *writer) sources(m mediaLines) {
	if m.streamID != "" {
		w.line("a=msid:%s %s", m.streamID, m.kind)
	}
	if m.ssrc == 0 {
		return
	}
	ssrcs := []uint32{m.ssrc}
	if m.rtxSSRC != 0 {
		ssrcs = append(ssrcs, m.rtxSSRC)
		w.line("a=ssrc-group:FID %d %d", m.ssrc, m.rtxSSRC)
	}
	for _, ssrc := range ssrcs {
		w.line("a=ssrc:%d cname:%s", ssrc, m.cname)
		if m.streamID != "" {
			w.line("a=ssrc:%d msid:%s %s", ssrc, m.streamID, m.kind)
		}
	}
}

// candidates writes the whole list; there are never more (RFC 9725 §4.3.2).
func (w *writer) candidates(candidates []string) {
	for _, candidate := range candidates {
		w.line("a=candidate:%s", candidate)
	}
	w.line("a=end-of-candidates")
}
