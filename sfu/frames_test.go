package sfu

import (
	"encoding/binary"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"rheomesh/internal/codec"
)

// Encodings that count their frames each for itself: to the viewer the numbers only go up, since decoders drop a keyframe whose number they have passed.
func TestFrameNumbersGoOnOverEncodings(t *testing.T) {
	_, router := rawNode(t)
	shape := layeredShape{codec: codec.AV1, rids: []string{"q", "f"}, spatial: 1, temporal: 1, described: true}
	p := publishLayered(t, router, "cam", shape, 0)
	p.layers[1].frame = 40000
	stop := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() { p.run(stop) })
	defer func() {
		close(stop)
		running.Wait()
	}()
	v := RawWatch(t, router, "cam", []string{shape.section(false)})
	var last uint16
	var before layeredTag
	for i := range 6 {
		wanted := uint8(i % 2)
		require.Eventually(t, func() bool {
			return v.Session().SelectLayer(LayerSelection{RID: shape.rids[wanted]}) == nil
		}, RawPatience, pictureTime)
		for frames := 0; frames < 5; {
			_, packet := v.NextRTP()
			if packet.PayloadType != layeredPT {
				continue
			}
			g, ok := readLayeredTag(packet.Payload)
			require.True(t, ok)
			number := binary.BigEndian.Uint16(packet.GetExtension(layeredDescriptor)[1:])
			if same := g.Layer == before.Layer && g.Frame == before.Frame; same {
				require.Equal(t, last, number, "the packets of a frame have one number")
			} else if before.Parts != 0 {
				require.Positive(t, int16(number-last), "layer %d frame %d after layer %d frame %d", g.Layer, g.Frame, before.Layer, before.Frame)
			}
			if g.Layer == wanted && g.Frame != before.Frame {
				frames++
			}
			last, before = number, g
		}
	}
}
