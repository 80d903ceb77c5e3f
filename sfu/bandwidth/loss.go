package bandwidth

import "time"

const (
	lossWindow  = time.Second
	lossPackets = 50 // that a window needs: fewer tell 2 % from 10 % by chance only
	lossWindows = 8
	// lossHold and lossCut are the two bounds of draft-ietf-rmcat-gcc-02 section 6, here of the loss beyond what the link has anyway.
	lossHold = 0.02
	lossCut  = 0.10
)

// loss counts packets lost, in windows. The least of the last windows is taken for inherent: the link's own, whatever is sent.
type loss struct {
	lost, arrived int
	opened        int64
	recent        [lossWindows]float64
	closed        int
	fraction      float64 // of the last window
	inherent      float64
}

// close ends the window when it is full, and tells so.
func (l *loss) close(now int64) bool {
	if now-l.opened < int64(lossWindow) || l.lost+l.arrived < lossPackets {
		return false
	}
	l.fraction = max(float64(l.lost), 0) / float64(l.lost+l.arrived)
	l.recent[l.closed%lossWindows] = l.fraction
	l.closed++
	l.inherent = l.fraction
	for _, f := range l.recent[:min(l.closed, lossWindows)] {
		l.inherent = min(l.inherent, f)
	}
	if l.closed < lossWindows/2 {
		l.inherent = 0
	}
	l.lost, l.arrived, l.opened = 0, 0, now
	return true
}

// excess is the loss that sending less would avoid.
func (l *loss) excess() float64 { return l.fraction - l.inherent }
