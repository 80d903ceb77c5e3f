// Package depdesc reads the dependency descriptor, the RTP header extension in which a sender tells, outside the payload, to which
// layers a frame belongs, for which viewers it is needed and on which frames it depends (RTP Payload Format For AV1, appendix A). Chromium
// sends it with AV1, and with other codecs when it is negotiated.
//
// A sender describes the whole pattern of its stream once, in a Structure of templates that comes with keyframes; every packet then names
// a template and says what differs from it. A Reader keeps the structure of one stream. A viewer watches a decode target: a combination
// of a spatial and a temporal layer, by its index in the structure. The package also changes, in place, the one field that a forwarder
// may have to: the frame number.
package depdesc

import "errors"

// Limits of the format (appendix A.8).
const (
	MaxTemplates = 64 // frame_dependency_template_id has six bits
	MaxTargets   = 32 // dt_cnt_minus_one has five bits
	MaxChains    = MaxTargets
	MaxSpatial   = 4 // spatial layers, as in AV1
	MaxTemporal  = 8 // temporal layers, as in AV1
)

// What Read refuses.
var (
	ErrShort       = errors.New("dependency descriptor: cut")
	ErrNoStructure = errors.New("dependency descriptor: no structure came yet")
	ErrTemplate    = errors.New("dependency descriptor: template is not in the structure")
	ErrLayers      = errors.New("dependency descriptor: more layers or templates than there can be")
	ErrChains      = errors.New("dependency descriptor: chain count is larger than the number of decode targets")
)

// DTI is a decode target indication: what a frame is to the viewers of one decode target (appendix A.5).
type DTI uint8

// The decode target indications, with the letters by which the specification draws them.
const (
	NotPresent  DTI = iota // - not needed and not to be sent
	Discardable            // D needed, and nothing of the decode target depends on it
	Switch                 // S once it is decodable, all that follow of the decode target are too
	Required               // R needed
)

// Near is a set of frame differences: bit i is set when the frame depends on the one i+1 before it, by frame number; the highest bit also
// stands for all that lie further back.
type Near uint64

const far Near = 1 << 63

func (n Near) with(diff uint32) Near {
	if diff >= 64 {
		return n | far
	}
	return n | 1<<(diff-1)
}

// Descriptor is what one packet tells, with the stream's structure filled in. It points at nothing that changes.
type Descriptor struct {
	First, Last bool   // the packet is the first, the last of its frame
	Attached    bool   // a structure came with the packet: it belongs to a keyframe
	Custom      bool   // DTIs, differences or chains are the frame's own, not the template's
	Template    uint8  // the frame's template, counted from 0 in its structure
	Number      uint16 // of the frame, in decoding order, modulo 2¹⁶
	Spatial     uint8  // layer id
	Temporal    uint8  // layer id
	Targets     uint8  // decode targets of the stream
	Chains      uint8  // chains of the stream

	// DTIs are the frame's decode target indications, two bits each, decode target 0 in the lowest. See Target.
	DTIs uint64
	// Diffs are the frames on which this one depends.
	Diffs Near
	// ChainDiffs say how many frames back the previous frame of each chain is, 0 when the frame begins the chain. Those
	// from Chains on are 0. A decode target can be shown without a fault as long as no frame of its chain is missing.
	ChainDiffs [MaxChains]uint8
	// Active is the set of decode targets that the sender produces at present, decode target 0 in the lowest bit. It holds from the
	// packet that tells it on, until the next structure.
	Active uint32
	// ActiveTold: Active came with this packet.
	ActiveTold bool
	// Structure is the stream's, immutable.
	Structure *Structure
}

// Target is the frame's indication for a decode target. Hot path.
func (d *Descriptor) Target(i uint8) DTI { return DTI(d.DTIs >> (2 * i) & 3) }

// Layer is a spatial and a temporal layer id.
type Layer struct{ Spatial, Temporal uint8 }

// Resolution is a picture size in pixels.
type Resolution struct{ Width, Height int }

// Structure is the pattern of a stream (template_dependency_structure, appendix A.8). It is immutable.
type Structure struct {
	offset    uint8 // template_id_offset
	targets   uint8
	chains    uint8
	spatial   uint8 // layers, MaxSpatialId + 1
	temporal  uint8 // layers, MaxTemporalId + 1
	sized     bool
	templates uint8
	template  [MaxTemplates]template
	layers    [MaxTargets]Layer // of each decode target
	protected [MaxTargets]uint8 // the chain of each decode target
	sizes     [MaxSpatial]Resolution
}

// template is what frames have in common.
type template struct {
	dtis              uint64
	diffs             Near
	chainDiffs        [MaxChains / 2]uint8 // four bits each, the even one low
	spatial, temporal uint8
}

// SpatialLayers is how many spatial layers the stream has.
func (s *Structure) SpatialLayers() int { return int(s.spatial) }

// TemporalLayers is how many temporal layers the stream has.
func (s *Structure) TemporalLayers() int { return int(s.temporal) }

// Targets is how many decode targets the stream has.
func (s *Structure) Targets() int { return int(s.targets) }

// Layer is the highest layers that a decode target has.
func (s *Structure) Layer(target uint8) Layer { return s.layers[target%MaxTargets] }

// Chain is the chain that protects a decode target; false when the stream has none.
func (s *Structure) Chain(target uint8) (uint8, bool) {
	return s.protected[target%MaxTargets], s.chains > 0
}

// Resolution is the largest picture of a spatial layer; false when the structure does not tell.
func (s *Structure) Resolution(spatial uint8) (Resolution, bool) {
	if !s.sized || spatial >= s.spatial {
		return Resolution{}, false
	}
	return s.sizes[spatial], true
}

// Best is the decode target for a viewer that wants no more than the given layers: among those in active that have neither a higher spatial nor a higher
// temporal layer, the one with the highest spatial, then the highest temporal layer; false when there is none.
func (s *Structure) Best(spatial, temporal uint8, active uint32) (target uint8, ok bool) {
	for i := range s.targets {
		l := s.layers[i]
		if active>>i&1 == 0 || l.Spatial > spatial || l.Temporal > temporal {
			continue
		}
		if best := s.layers[target]; !ok || l.Spatial > best.Spatial || l.Spatial == best.Spatial && l.Temporal > best.Temporal {
			target, ok = i, true
		}
	}
	return target, ok
}
