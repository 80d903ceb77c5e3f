package sdp

import (
	"fmt"
	"slices"
	"strings"
)

// Role is what the client on the other side does.
type Role int

const (
	// Publish: the client sends (WHIP); our answer is recvonly.
	Publish Role = iota
	// Play: the client receives (WHEP); our answer is sendonly.
	Play
)

// direction is ours in an answer.
func (r Role) direction() Direction {
	if r == Play {
		return SendOnly
	}
	return RecvOnly
}

// CheckPublish reports why a WHIP offer cannot be served, wrapping
// ErrUnacceptable: RFC 9725 §4.2 (directions), §4.4.1 (BUNDLE), §4.4.2 (one
// track of a kind), §4.4.3 (no partial success).
func CheckPublish(d *Description) error { return check(d, Publish) }

// CheckPlay is the same for a WHEP offer, or for the answer to our own offer.
func CheckPlay(d *Description) error { return check(d, Play) }

func check(d *Description, role Role) error {
	count := make(map[Kind]int)
	for i, m := range d.Media {
		if !m.Active() {
			continue
		}
		if err := checkSection(m, role); err != nil {
			return fmt.Errorf("m-line %d (mid %q): %w", i, quoted(m.MID), err)
		}
		if count[m.Kind]++; count[m.Kind] > 1 {
			return fmt.Errorf("m-line %d (mid %q): more than one %s section: %w", i, quoted(m.MID), m.Kind, ErrUnacceptable)
		}
	}
	if len(count) == 0 {
		return fmt.Errorf("no audio, video or data section: %w", ErrUnacceptable)
	}
	return checkBundle(d)
}

func checkSection(m Media, role Role) error {
	switch m.Kind {
	case Application:
		if m.Protocol != legacySCTPProtocol && (m.Protocol != sctpProtocol || m.format != dataChannelFormat) {
			return fmt.Errorf("%q %q is not a data channel: %w", quoted(m.Protocol), quoted(m.format), ErrUnacceptable)
		}
		return nil
	case Audio, Video:
	default:
		return fmt.Errorf("media type %q: %w", quoted(string(m.Kind)), ErrUnacceptable)
	}
	if wanted := role.direction().reverse(); m.Direction != wanted && m.Direction != SendRecv {
		return fmt.Errorf("direction %s, want %s or sendrecv: %w", m.Direction, wanted, ErrUnacceptable)
	}
	return checkCodecs(m)
}

// checkCodecs wants at least one codec that we carry.
func checkCodecs(m Media) error {
	var offered []string
	for _, c := range m.Codecs {
		if slices.Contains(carried[m.Kind], c.Name) {
			return nil
		}
		if !slices.Contains(offered, c.Name) {
			offered = append(offered, c.Name)
		}
	}
	return fmt.Errorf("no %s codec in common: offered %s, accepted %s: %w", m.Kind,
		quoted(firstOf(strings.Join(offered, " "), "none")), strings.Join(carried[m.Kind], " "), ErrUnacceptable)
}

// checkBundle wants all active sections in one group (RFC 9725 §4.4.1). A single
// section needs none.
func checkBundle(d *Description) error {
	active := 0
	for _, m := range d.Media {
		if m.Active() {
			active++
		}
	}
	if active < 2 {
		return nil
	}
	for i, m := range d.Media {
		if m.Active() && (m.MID == "" || !slices.Contains(d.Bundle, m.MID)) {
			return fmt.Errorf("m-line %d (mid %q): not in the BUNDLE group: %w", i, quoted(m.MID), ErrUnacceptable)
		}
	}
	return nil
}
