//go:build !race

package sublayer_test

// raceEnabled tells the allocation guards that the race detector, which allocates, is on.
const raceEnabled = false
