package relay_test

import "rheomesh/internal/sdp"

var (
	vp8  = []sdp.Codec{{PT: 96, Name: sdp.VP8, ClockRate: 90000, Feedback: []string{"nack", "nack pli"}}}
	opus = []sdp.Codec{{PT: 111, Name: sdp.Opus, ClockRate: 48000, Channels: 2}}
)
