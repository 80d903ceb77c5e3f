// Package bench is a load generator for any WHIP and WHEP server, and the measuring of what the server spends on it.
//
// Server and load share the machine's cores, so the load must be cheap and the server must be a process of its own: its
// CPU time, memory and descriptors are read from the kernel (process.go), and nothing else of it is looked at.
//
// A run goes through these steps (run.go). Publishers join with WHIP and send a synthetic H.264 and Opus stream
// (stream.go, publisher.go). Viewers join with WHEP. When every viewer has had its first decodable frame, counters and the
// server's CPU time are read before and after a window (window.go). Then everything leaves by DELETE.
//
// A client here is a link: one UDP socket, a controlling ICE agent with host candidates that checks the server's
// candidates one after the other, pion/dtls in either role, and pion/srtp. There is no PeerConnection. A poller reads all
// sockets: many datagrams per call, and with a short nap in between, during which datagrams pile up in the sockets. The
// nap costs no precision, because the times of arrival that matter are the kernel's. A viewer counts RTP packets by their
// headers, which SRTP leaves in the clear. It opens packets only until its first decodable frame, and from then on reads
// no more than the beginning of each; every few viewers one goes on opening the last packet of each frame, to read when it
// was sent. Sockets do not take merged datagrams (UDP_GRO), as clients elsewhere would not: a server that segments gains
// what it gains on a real network, and not its receivers' share besides.
//
// # Stamps
//
// The last 19 bytes of every RTP payload are a stamp: the four bytes "RhMb", the time of sending (nanoseconds since the
// Unix epoch) in ten bytes and the number of the packet within its stream in five, both in groups of seven bits with the
// top bit set, most significant first. No byte of it is zero, so it needs no emulation prevention in H.264 slice data
// (H.264 section 7.4.1), and as it also ends the NAL unit it survives a server that fragments anew. Delay is the
// kernel's time of arrival of a frame's last packet less the stamp in it: what the load itself takes to read is not in it.
//
// # First frame
//
// The time from the start of the POST to the arrival of the packet that completes the first keyframe with its parameter
// sets, or to the keys when those come later. Publishers ignore keyframe requests, as many encoders do.
package bench
