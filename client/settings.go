package client

import (
	"net"
	"strings"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/nack"
	"github.com/pion/interceptor/pkg/report"
	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"
)

// Payload types of a publisher's offer, those that browsers use for the same purpose.
const (
	payloadVideo = 96
	payloadRTX   = 97
	payloadAudio = 111
)

// videoFeedback is offered for every video codec: NACK, PLI and FIR (RFC 4585, RFC 5104).
var videoFeedback = []webrtc.RTCPFeedback{{Type: "nack"}, {Type: "nack", Parameter: "pli"}, {Type: "ccm", Parameter: "fir"}}

// parts are what a PeerConnection of ours is assembled from.
type parts struct {
	options      *Options
	media        *webrtc.MediaEngine
	interceptors *interceptor.Registry
	logs         pionLogs
}

func newParts(options *Options) parts {
	return parts{
		options:      options,
		media:        &webrtc.MediaEngine{},
		interceptors: &interceptor.Registry{},
		logs:         pionLogs{options.logger()},
	}
}

// connect makes the PeerConnection: everything bundled on one transport (RFC 9725 §4.4.1).
func (p parts) connect() (*webrtc.PeerConnection, error) {
	settings := settingEngine(p.options)
	settings.LoggerFactory = p.logs
	api := webrtc.NewAPI(webrtc.WithMediaEngine(p.media), webrtc.WithInterceptorRegistry(p.interceptors),
		webrtc.WithSettingEngine(settings))
	return api.NewPeerConnection(webrtc.Configuration{
		BundlePolicy: webrtc.BundlePolicyMaxBundle, RTCPMuxPolicy: webrtc.RTCPMuxPolicyRequire,
	})
}

// settingEngine limits ICE to host candidates that are gathered in no time, loopback included, since
// servers under test live there.
func settingEngine(options *Options) webrtc.SettingEngine {
	var settings webrtc.SettingEngine
	settings.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetNetworkTypes(networkTypes(options))
	if options.IPv6Only {
		settings.SetIPFilter(func(ip net.IP) bool { return ip.To4() == nil })
	}
	if len(options.SRTPProfiles) > 0 {
		settings.SetSRTPProtectionProfiles(options.SRTPProfiles...)
	}
	return settings
}

func networkTypes(options *Options) (types []webrtc.NetworkType) {
	v4, v6 := webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6
	if options.TCPOnly {
		v4, v6 = webrtc.NetworkTypeTCP4, webrtc.NetworkTypeTCP6
	}
	if !options.IPv6Only {
		types = append(types, v4)
	}
	return append(types, v6)
}

// sender adds what a publisher does by itself: sender reports each second with the wall clock's NTP
// time, answers to NACKs, and transport-wide sequence numbers.
func (p parts) sender() error {
	reports, err := report.NewSenderInterceptor(report.WithSenderLoggerFactory(p.logs))
	if err != nil {
		return err
	}
	responder, err := nack.NewResponderInterceptor(nack.WithResponderLoggerFactory(p.logs))
	if err != nil {
		return err
	}
	p.interceptors.Add(responder)
	p.interceptors.Add(reports)
	if err := p.extensions(sdp.SDESMidURI); err != nil {
		return err
	}
	for _, uri := range []string{sdp.SDESRTPStreamIDURI, sdp.SDESRepairRTPStreamIDURI} {
		if err := p.extension(uri, webrtc.RTPCodecTypeVideo); err != nil {
			return err
		}
	}
	if p.options.NoTWCC {
		return nil
	}
	return webrtc.ConfigureTWCCHeaderExtensionSender(p.media, p.interceptors)
}

// receiver adds what a player does by itself: receiver reports, NACKs, and transport-wide feedback.
func (p parts) receiver() error {
	reports, err := report.NewReceiverInterceptor(report.WithReceiverLoggerFactory(p.logs))
	if err != nil {
		return err
	}
	generator, err := nack.NewGeneratorInterceptor(nack.WithGeneratorLoggerFactory(p.logs))
	if err != nil {
		return err
	}
	p.interceptors.Add(generator)
	p.interceptors.Add(reports)
	if err := p.extensions(sdp.SDESMidURI); err != nil {
		return err
	}
	if p.options.NoTWCC {
		return nil
	}
	return webrtc.ConfigureTWCCSenderWithOptions(p.media, p.interceptors, twcc.WithLoggerFactory(p.logs))
}

// extensions registers a header extension for both kinds.
func (p parts) extensions(uri string) error {
	if err := p.extension(uri, webrtc.RTPCodecTypeAudio); err != nil {
		return err
	}
	return p.extension(uri, webrtc.RTPCodecTypeVideo)
}

func (p parts) extension(uri string, kind webrtc.RTPCodecType) error {
	return p.media.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: uri}, kind)
}

// sendCodec registers the one codec that a publisher offers for a kind.
func (p parts) sendCodec(codec webrtc.RTPCodecCapability) error {
	if kindOf(codec) == webrtc.RTPCodecTypeAudio {
		return p.codec(codec, payloadAudio)
	}
	if len(codec.RTCPFeedback) == 0 {
		codec.RTCPFeedback = videoFeedback
	}
	if err := p.codec(codec, payloadVideo); err != nil || p.options.NoRTX {
		return err
	}
	return p.codec(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeRTX, ClockRate: codec.ClockRate, SDPFmtpLine: "apt=96"}, payloadRTX)
}

func (p parts) codec(codec webrtc.RTPCodecCapability, payload webrtc.PayloadType) error {
	return p.media.RegisterCodec(webrtc.RTPCodecParameters{RTPCodecCapability: codec, PayloadType: payload}, kindOf(codec))
}

// kindOf tells audio from video by the MIME type.
func kindOf(codec webrtc.RTPCodecCapability) webrtc.RTPCodecType {
	if strings.HasPrefix(strings.ToLower(codec.MimeType), "audio/") {
		return webrtc.RTPCodecTypeAudio
	}
	return webrtc.RTPCodecTypeVideo
}
