package sfu

import (
	"sync/atomic"

	"rheomesh/internal/codec"
	"rheomesh/internal/depdesc"
	"rheomesh/internal/rtpx"
	"rheomesh/internal/sdp"
	"rheomesh/sfu/sublayer"
)

// layering finds out to which sub-layers the packets of one video stream belong. It is the writer's.
type layering struct {
	extension  uint8 // id of the dependency descriptor; 0 = not negotiated
	reader     depdesc.Reader
	descriptor depdesc.Descriptor

	timestamp         uint32 // of the newest packet that told its layers
	spatial, temporal uint8
}

// newLayering is for a track with the given header extensions; nil for audio.
func newLayering(t *Track) *layering {
	if t.Kind != codec.Video {
		return nil
	}
	return &layering{extension: sdp.ExtensionID(t.extensions, sdp.ExtDependency)}
}

// of is what a packet tells of its layers. Some codecs tell it at the start of a frame only: the layer ids in info are completed. Hot path.
func (l *layering) of(c codec.Codec, h rtpx.Header, plain []byte, info *codec.Info, to *Layer) sublayer.Layers {
	layers := sublayer.FromInfo(c, info)
	if l.extension != 0 {
		if value, ok := rtpx.Extension(plain, h, l.extension); ok && l.reader.Read(value, &l.descriptor) == nil {
			layers.Describe(&l.descriptor)
			to.described.update(&l.descriptor)
			info.Spatial, info.Temporal = layers.Spatial, layers.Temporal
			return layers
		}
	}
	switch {
	case info.Layered:
		l.timestamp, l.spatial, l.temporal = h.Timestamp, info.Spatial, info.Temporal
	case l.timestamp == h.Timestamp:
		info.Spatial, info.Temporal = l.spatial, l.temporal
	}
	return layers
}

// description is the pattern of a layer's frames as its sender describes it.
type description struct {
	structure *depdesc.Structure
	active    uint32 // decode targets that are sent
}

// publishedDescription may be read by anybody; nil while the sender describes nothing.
type publishedDescription struct{ atomic.Pointer[description] }

// update notes what a packet tells. It allocates when something is new. Hot path.
func (p *publishedDescription) update(d *depdesc.Descriptor) {
	if old := p.Load(); old == nil || old.structure != d.Structure || old.active != d.Active {
		p.Store(&description{structure: d.Structure, active: d.Active})
	}
}

// targetOf is what a viewer's selector must aim at to send a rung.
func targetOf(r *rung) sublayer.Target {
	if r.whole {
		return sublayer.All
	}
	if d := r.layer.described.Load(); d != nil {
		return sublayer.TargetOf(d.structure, uint8(r.spatial), uint8(r.temporal), d.active)
	}
	return sublayer.Target{Spatial: uint8(r.spatial), Temporal: uint8(r.temporal), Decode: -1}
}
