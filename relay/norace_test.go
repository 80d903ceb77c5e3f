//go:build !race

package relay_test

// raceSlack is what the race detector may add to a time.
const raceSlack = 0
