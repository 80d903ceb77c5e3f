//go:build race

package udpbatch

// raceEnabled tells that the race detector is on, which allocates where the plain code does not.
const raceEnabled = true
