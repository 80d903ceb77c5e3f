// Package wire is the datagram of a relay link: its layout, its keys, the window that keeps replays out, and the two halves of repair on the hop. It holds
// pure state machines: bytes, numbers and the time go in, what to do comes out. Sockets, goroutines and clocks are package relay's.
//
// Every datagram is sealed with AES-128-GCM. The 12 bytes before the sealed part are legible, since the receiver finds its keys by them, and authenticated.
// There are two flows in each direction of a link, each with numbers of its own. The media flow carries RTP packets, sender reports and ends of streams, each
// of which is repaired when lost: the receiver finds the gap in the flow's numbers and asks (Gaps), the sender has remembered what lay behind a number and
// seals it once more (History), which with the same key, number and plaintext makes the same bytes. The control flow carries messages that are
// repeated until they have worked, so nothing in it is repaired; and data channels, which have acknowledgements and numbers of their own (DataSender, DataReceiver).
package wire
