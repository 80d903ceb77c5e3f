package sdp

import "slices"

// URIs of the RTP header extensions that we know.
const (
	ExtMID            = "urn:ietf:params:rtp-hdrext:sdes:mid"                    // RFC 9143 §15
	ExtRID            = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"          // RFC 8852 §4.1
	ExtRepairedRID    = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id" // RFC 8852 §4.2
	ExtTransportCC    = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
	ExtAbsSendTime    = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
	ExtAbsCaptureTime = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time"
	ExtAudioLevel     = "urn:ietf:params:rtp-hdrext:ssrc-audio-level" // RFC 6464
	ExtOrientation    = "urn:3gpp:video-orientation"                  // 3GPP TS 26.114 §7.4.5
	ExtPlayoutDelay   = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
	ExtColorSpace     = "http://www.webrtc.org/experiments/rtp-hdrext/color-space"
	ExtDependency     = "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
)

// publishExtensions are those that a publisher may send us.
var publishExtensions = []string{
	ExtMID, ExtRID, ExtRepairedRID, ExtTransportCC, ExtAbsSendTime, ExtAbsCaptureTime,
	ExtAudioLevel, ExtOrientation, ExtPlayoutDelay, ExtColorSpace, ExtDependency,
}

// playExtensions are those that a viewer gets from us.
var playExtensions = []string{
	ExtMID, ExtAbsCaptureTime, ExtAudioLevel, ExtOrientation, ExtPlayoutDelay, ExtDependency, ExtTransportCC,
}

// ExtensionID is the id under which extensions have a URI; 0, which is none
// (RFC 8285 §4.2), when they do not.
func ExtensionID(extensions []Extension, uri string) uint8 {
	for _, e := range extensions {
		if e.URI == uri {
			return uint8(e.ID)
		}
	}
	return 0
}

// PublishExtensions are the extensions of a publisher's section that the answer
// accepts, with the ids of the offer and the direction of the answer.
func PublishExtensions(m Media) []Extension {
	return answerExtensions(m, RecvOnly, publishExtensions)
}

// PlayExtensions are the same for a viewer's section.
func PlayExtensions(m Media) []Extension {
	kept := answerExtensions(m, SendOnly, playExtensions)
	if !m.TransportWide() {
		kept = slices.DeleteFunc(kept, func(e Extension) bool { return e.URI == ExtTransportCC })
	}
	return kept
}

// answerExtensions keeps the accepted extensions that the client uses in the
// direction of the media, ours being answer (RFC 8285 §6).
func answerExtensions(m Media, answer Direction, accepted []string) []Extension {
	var kept []Extension
	for _, e := range m.Extensions {
		usable := e.Direction == SendRecv || e.Direction == answer.reverse()
		if usable && slices.Contains(accepted, e.URI) {
			e.Direction = e.Direction.reverse()
			kept = append(kept, e)
		}
	}
	return kept
}
