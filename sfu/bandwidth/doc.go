// Package bandwidth decides, for one viewer, how much its link carries, which layer it gets, when to look for more, and how fast to send.
//
// It is arithmetic only: no goroutine, no socket and no clock. Time is an argument, in nanoseconds of any clock that does not jump; rates are bits per second
// and sizes are bytes of UDP payload. The parts, each in a file of its own:
//
//   - history: when each packet was sent and how large it was, by transport-wide number
//   - feedback: the viewer's report of arrivals (draft-holmer-rmcat-transport-wide-cc-extensions-01), read straight from the bytes
//   - estimator: the estimate from queueing delay, its gradient, loss and delivery rate, in the manner of draft-ietf-rmcat-gcc-02
//   - prober: short clusters of padding that find out whether the link carries a higher layer before the viewer is switched to it
//   - ladder: the choice among the layers, slow to go up, quick to go down
//   - pacer: a token bucket that spreads bursts on thin links
//
// Viewer bundles them and is the only type that a forwarder needs. Nothing here allocates after NewViewer.
package bandwidth
