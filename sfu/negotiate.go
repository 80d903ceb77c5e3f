package sfu

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"rheomesh/internal/codec"
	"rheomesh/internal/sdp"
	"rheomesh/sfu/transport"
)

const (
	sctpPort = 5000 // RFC 8841 section 5
)

// publish answers a publisher's offer and claims the publisher's name.
func (s *Session) publish(offer *sdp.Description, policy ConflictPolicy) error {
	if err := s.router.checkCodecs(offer); err != nil {
		return err
	}
	old, err := s.publisher.claim(s, policy)
	if err != nil {
		return err
	}
	if old != nil {
		old.Close(CloseReplaced)
	}
	s.ingest = newIngest(s, offer)
	// Publishers get the active DTLS role, as RFC 8842 section 5.3 recommends for answers: encoders that cannot be DTLS clients exist.
	link := s.open(offer, sdp.AnswerSetup(offer.Setup, false))
	s.ingest.transport = link
	answer := s.answer(offer, link, sdp.Publish)
	for _, m := range offer.Media {
		media := sdp.AnswerMedia{Codecs: sdp.PublishCodecs(m), Extensions: sdp.PublishExtensions(m), RIDs: publishedRIDs(m)}
		answer.Media = append(answer.Media, withData(m, media))
	}
	s.ready(answer.Marshal(offer))
	link.Start()
	return nil
}

// checkCodecs refuses codecs that the router does not take.
func (r *Router) checkCodecs(offer *sdp.Description) error {
	codecs := r.Config().Codecs
	if len(codecs) == 0 {
		return nil
	}
	for i, m := range offer.Media {
		if m.Kind == sdp.Application || !m.Active() {
			continue
		}
		taken := func(c sdp.Codec) bool {
			return slices.ContainsFunc(codecs, func(name string) bool { return strings.EqualFold(name, c.Name) })
		}
		if !slices.ContainsFunc(sdp.PublishCodecs(m), taken) {
			return fmt.Errorf("%w: m-line %d: router %s takes %s only", ErrOfferUnacceptable, i, r.id, strings.Join(codecs, ", "))
		}
	}
	return nil
}

// withData completes the answer of a data section.
func withData(m sdp.Media, media sdp.AnswerMedia) sdp.AnswerMedia {
	if m.Kind == sdp.Application {
		return sdp.AnswerMedia{SCTPPort: sctpPort, MaxMessageSize: MaxDataMessageBytes}
	}
	return media
}

// answerPlayer answers a viewer's offer.
func (s *Session) answerPlayer(offer *sdp.Description) error {
	s.newSubscriber(offer)
	// As DTLS server we choose the SRTP profile, and choose the one that is cheapest to seal.
	link := s.open(offer, sdp.AnswerSetup(offer.Setup, true))
	s.subscriber.transport = link
	answer := s.answer(offer, link, sdp.Play)
	answer.StreamID = streamID
	for i, m := range offer.Media {
		media := sdp.AnswerMedia{Codecs: sdp.PlayCodecs(m), Extensions: sdp.PlayExtensions(m), CNAME: s.subscriber.cname}
		if f := s.subscriber.forwarderOf(i); f != nil {
			media.SSRC, media.RTXSSRC = f.ssrc, f.rtxSSRC
		}
		answer.Media = append(answer.Media, withData(m, media))
	}
	s.join()
	s.ready(answer.Marshal(offer))
	link.Start()
	return nil
}

// streamID names the one MediaStream of an answer (RFC 9725 section 4.4.2).
const streamID = "rheomesh"

// join hands the subscriber to its worker and its publisher.
func (s *Session) join() {
	s.subscriber.start()
	s.router.addSubscriber(s.subscriber)
	s.publisher.join(s.subscriber)
	if s.subscriber.data != nil {
		s.publisher.joinData(s.subscriber.data)
	}
}

// newSubscriber makes the viewer's forwarders from the client's description.
func (s *Session) newSubscriber(d *sdp.Description) {
	sub := &Subscriber{id: newSubscriberID(), session: s, publisher: s.publisher, worker: s.router.node.assignWorker(s.publisher)}
	sub.cname = string(sub.id)
	for i, m := range d.Media {
		codecs := sdp.PlayCodecs(m)
		if m.Kind == sdp.Application || !m.Active() || len(codecs) == 0 {
			continue
		}
		kind := codec.Audio
		if m.Kind == sdp.Video {
			kind = codec.Video
		}
		sub.forwarders = append(sub.forwarders, newForwarder(sub, kind, i, codecs, sdp.PlayExtensions(m)))
	}
	s.subscriber = sub
	s.log = s.log.With("subscriber_id", sub.id)
}

func (s *Subscriber) forwarderOf(index int) *forwarder {
	for _, f := range s.forwarders {
		if f.index == index {
			return f
		}
	}
	return nil
}

// open makes the session's transport for the client's description; setup is our role in DTLS.
func (s *Session) open(d *sdp.Description, setup sdp.Setup) *transport.Session {
	peer := transport.Peer{
		Credentials: transport.Credentials{Ufrag: d.ICE.Ufrag, Pwd: d.ICE.Pwd}, Lite: d.ICE.Lite,
		FingerprintAlgorithm: d.Fingerprint.Algorithm, Fingerprint: d.Fingerprint.Value,
		Candidates: usableCandidates(d.Candidates), DTLSClient: setup == sdp.SetupActive,
	}
	s.dataPeer(d, &peer)
	link := transport.New(&s.router.node.transport, peer, s)
	s.attach(link, d)
	return link
}

// attach makes link the session's transport.
func (s *Session) attach(link *transport.Session, d *sdp.Description) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.transport, s.offer = link, d
	s.remoteUfrag, s.etag = d.ICE.Ufrag, link.LocalCredentials().Ufrag
}

// answer is the part of an answer that is the same for both roles.
func (s *Session) answer(offer *sdp.Description, link *transport.Session, role sdp.Role) *sdp.Answer {
	local, node := link.LocalCredentials(), s.router.node
	return &sdp.Answer{
		SessionID: newSessionNumber(), Role: role, ICE: sdp.ICE{Ufrag: local.Ufrag, Pwd: local.Pwd, Lite: node.transport.Lite},
		Fingerprint: node.fingerprint, Setup: sdp.AnswerSetup(offer.Setup, role == sdp.Play), Candidates: node.candidates,
	}
}

func (s *Session) ready(description string) {
	s.mu.Lock()
	s.description = description
	s.mu.Unlock()
}

// offerPlayer makes an offer that waits serverOfferLife for Accept.
func (s *Session) offerPlayer() error {
	credentials, node := transport.NewCredentials(), s.router.node
	offer := &sdp.Offer{
		SessionID: newSessionNumber(), ICE: sdp.ICE{Ufrag: credentials.Ufrag, Pwd: credentials.Pwd, Lite: node.transport.Lite},
		Fingerprint: node.fingerprint, Candidates: node.candidates, StreamID: streamID,
	}
	description, err := offer.Description()
	if err != nil {
		return err
	}
	s.newSubscriber(description)
	offer.CNAME = s.subscriber.cname
	for _, f := range s.subscriber.forwarders {
		if f.kind == codec.Audio {
			offer.AudioSSRC = f.ssrc
		} else {
			offer.VideoSSRC, offer.VideoRTXSSRC = f.ssrc, f.rtxSSRC
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offer, s.description, s.etag = description, offer.Marshal(), credentials.Ufrag
	s.pending = &serverOffer{credentials: credentials, expiry: time.AfterFunc(serverOfferLife, func() { s.Close(CloseTimeout) })}
	return nil
}

// Accept takes the player's answer to our offer. There is one answer per offer.
func (s *Session) Accept(text []byte) error {
	answer, err := sdp.ParseAnswer(text, sdp.DefaultLimits)
	if err != nil {
		return offerError(err)
	}
	s.mu.Lock()
	pending, offer := s.pending, s.offer
	s.mu.Unlock()
	if pending == nil {
		return fmt.Errorf("no offer is pending: %w", ErrSessionState)
	}
	if err := sdp.MatchAnswer(offer, answer); err != nil {
		return offerError(err)
	}
	s.mu.Lock()
	if s.pending != pending || s.ended {
		s.mu.Unlock()
		return fmt.Errorf("no offer is pending: %w", ErrSessionState)
	}
	s.pending, s.making = nil, true
	pending.expiry.Stop()
	s.mu.Unlock()
	s.accepted(answer, pending.credentials)
	s.made()
	return nil
}

// accepted opens the transport under the credentials of the offer and narrows the forwarders to what the player took.
func (s *Session) accepted(answer *sdp.Description, credentials transport.Credentials) {
	for _, f := range s.subscriber.forwarders {
		m := answer.Media[f.index]
		f.codecs, f.extensions = sdp.PlayCodecs(m), sdp.PlayExtensions(m)
		if !m.Active() {
			f.codecs = nil
		}
	}
	link := transport.New(&s.router.node.transport, transport.Peer{
		Credentials: transport.Credentials{Ufrag: answer.ICE.Ufrag, Pwd: answer.ICE.Pwd}, Lite: answer.ICE.Lite,
		FingerprintAlgorithm: answer.Fingerprint.Algorithm, Fingerprint: answer.Fingerprint.Value,
		Candidates: usableCandidates(answer.Candidates), DTLSClient: answer.Setup == sdp.SetupPassive, Local: credentials, Controlled: true,
	}, s)
	s.subscriber.transport = link
	s.attach(link, answer)
	s.join()
	link.Start()
}

// newSessionNumber draws the number of an SDP origin line (RFC 9429 section 5.2.1).
func newSessionNumber() uint64 { return rand.Uint64() >> 1 }
