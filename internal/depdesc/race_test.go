//go:build race

package depdesc_test

// raceEnabled tells the allocation guards that the race detector, which allocates, is on.
const raceEnabled = true
