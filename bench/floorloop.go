package bench

import (
	"bufio"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"time"

	"rheomesh/internal/udpbatch"
)

const (
	floorBatchPackets = 1024 // as many messages as one sendmmsg takes
	gcmTagBytes       = 16
	gcmSaltBytes      = 12
)

// RunFloor is the process that the floor is measured on: the least that a server in Go can do. It makes the stream itself,
// and for each sink writes a header, seals the payload with AES-128-GCM as SRTP does, and sends with sendmmsg and
// UDP_SEGMENT. There is no receiving, no choosing, no session. It reads its orders from in, and ends when in ends.
func RunFloor(ctx context.Context, in io.Reader) error {
	orders := bufio.NewReader(in)
	spec, err := readFloorSpec(orders)
	if err != nil {
		return fmt.Errorf("floor: orders: %w", err)
	}
	conn, err := udpbatch.Listen("udp4", "127.0.0.1:0", udpbatch.Config{})
	if err != nil {
		return fmt.Errorf("floor: %w", err)
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	start := time.Now()
	for i := range spec.Publishers {
		f, err := newFanout(conn, spec, i)
		if err != nil {
			return fmt.Errorf("floor: %w", err)
		}
		begin := start.Add(spec.Stream.frameInterval() * time.Duration(i) / time.Duration(spec.Publishers))
		wg.Go(func() { newPacer(spec.Stream, begin).run(ctx, f.emit) })
	}
	_, err = io.Copy(io.Discard, orders)
	cancel()
	wg.Wait()
	return err
}

// fanout sends one stream to its sinks.
type fanout struct {
	conn  *udpbatch.Conn
	batch *udpbatch.WriteBatch
	sinks []sink
}

// sink is one receiver and its keys.
type sink struct {
	addr             netip.AddrPort
	aead             cipher.AEAD
	salt             [gcmSaltBytes]byte
	videoSeq, audSeq uint64
}

func newFanout(conn *udpbatch.Conn, spec floorSpec, publisher int) (*fanout, error) {
	f := &fanout{conn: conn, batch: udpbatch.NewWriteBatch(floorBatchPackets, floorBatchPackets*(maxPayloadBytes+rtpHeaderBytes+gcmTagBytes))}
	for i := publisher; i < len(spec.Sinks); i += spec.Publishers {
		s := sink{addr: spec.Sinks[i]}
		var key [16]byte
		_, _ = rand.Read(key[:]) // never fails
		_, _ = rand.Read(s.salt[:])
		block, err := aes.NewCipher(key[:])
		if err != nil {
			return nil, err
		}
		if s.aead, err = cipher.NewGCM(block); err != nil {
			return nil, err
		}
		f.sinks = append(f.sinks, s)
	}
	return f, nil
}

func (f *fanout) emit(b burst) {
	for i := range f.sinks {
		s := &f.sinks[i]
		for j, payload := range b.payloads {
			f.add(s, b, payload, b.last && j == len(b.payloads)-1)
		}
	}
	f.flush()
}

// add seals one packet into the batch. The nonce is that of RFC 7714 section 8.1.
func (f *fanout) add(s *sink, b burst, payload []byte, last bool) {
	size := rtpHeaderBytes + len(payload) + gcmTagBytes
	room := f.batch.Next(size)
	if room == nil {
		f.flush()
		room = f.batch.Next(size)
	}
	pt, ssrc, seq := uint8(ptOpus), uint32(1), &s.audSeq
	if b.video {
		pt, ssrc, seq = ptH264, 2, &s.videoSeq
	}
	header := appendHeader(room[:0], pt, last && b.video, uint16(*seq), b.timestamp, ssrc)
	nonce := s.salt
	binary.BigEndian.PutUint32(nonce[2:], binary.BigEndian.Uint32(nonce[2:])^ssrc)
	binary.BigEndian.PutUint32(nonce[6:], binary.BigEndian.Uint32(nonce[6:])^uint32(*seq>>16))
	binary.BigEndian.PutUint16(nonce[10:], binary.BigEndian.Uint16(nonce[10:])^uint16(*seq))
	*seq++
	s.aead.Seal(room[rtpHeaderBytes:rtpHeaderBytes], nonce[:], payload, header)
	f.batch.Commit(size, s.addr)
}

func (f *fanout) flush() { _, _ = f.conn.Write(f.batch) } // what the kernel refuses is missing where packets are counted
