package sfu

import (
	"rheomesh/internal/codec"
	"rheomesh/internal/rtpx"
	"rheomesh/internal/sdp"
)

// mapFormats finds for each payload type of a track the viewer's payload type that can carry it. A track whose codec the viewer did not offer is not sent.
func (f *forwarder) mapFormats(t *Track) *formats {
	var m formats
	for pt := range t.codecs {
		c := &t.codecs[pt]
		if c.codec == codec.Unknown {
			continue
		}
		if chosen, ok := sdp.Best(f.codecs, c.sdp); ok && (c.codec != codec.RED || f.sameRED(t, c.sdp, chosen)) {
			m[pt] = format{known: true, pt: chosen.PT, rtxPT: f.rtxFor(chosen.PT)}
			continue
		}
		if c.codec == codec.RED {
			if opus, ok := sdp.Best(f.codecs, t.opus()); ok {
				m[pt] = format{known: true, pt: opus.PT, primaryRED: true}
			}
		}
	}
	return &m
}

// sameRED reports whether the blocks of the publisher's RED, which carry payload types inside (RFC 2198 section 3), mean the same to the viewer.
func (f *forwarder) sameRED(t *Track, sent, chosen sdp.Codec) bool {
	opus, ok := sdp.Best(f.codecs, t.opus())
	return ok && opus.PT == t.opus().PT && sent.Fmtp == chosen.Fmtp
}

func (t *Track) opus() sdp.Codec {
	for pt := range t.codecs {
		if t.codecs[pt].codec == codec.Opus {
			return t.codecs[pt].sdp
		}
	}
	return sdp.Codec{}
}

// rtxFor is the payload type of the viewer's RTX for pt; 0 when it has none.
func (f *forwarder) rtxFor(pt uint8) uint8 {
	for _, c := range f.codecs {
		if apt, ok := c.APT(); ok && c.Name == sdp.RTX && apt == pt {
			return c.PT
		}
	}
	return 0
}

// mapExtensions renumbers the header extensions that both sides negotiated. Those that belong to one hop only, the stream's names in its session and what
// congestion control measures, do not pass.
func (f *forwarder) mapExtensions(t *Track) *rtpx.ExtensionMap {
	m := &rtpx.ExtensionMap{}
	for _, in := range t.extensions {
		switch in.URI {
		case sdp.ExtMID, sdp.ExtRID, sdp.ExtRepairedRID, sdp.ExtTransportCC, sdp.ExtAbsSendTime:
			continue
		}
		for _, out := range f.extensions {
			if in.URI == out.URI {
				m.Map(uint8(in.ID), uint8(out.ID))
			}
		}
	}
	return m
}

// redPrimary is the primary block of a RED payload: the last one, whose header is a single byte (RFC 2198 section 3).
func redPrimary(payload []byte) []byte {
	redundant, rest := 0, payload
	for len(rest) >= 4 && rest[0]&0x80 != 0 {
		redundant += int(rest[2]&0x03)<<8 | int(rest[3])
		rest = rest[4:]
	}
	if len(rest) == 0 || rest[0]&0x80 != 0 || 1+redundant > len(rest) {
		return nil
	}
	return rest[1+redundant:]
}
