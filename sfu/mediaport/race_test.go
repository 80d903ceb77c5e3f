//go:build race

package mediaport

// raceEnabled tells the allocation guards that the race detector, which allocates, is on.
const raceEnabled = true
