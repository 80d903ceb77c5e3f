//go:build !race

package transport

// raceEnabled tells the allocation guards that the race detector, which allocates, is on.
const raceEnabled = false
