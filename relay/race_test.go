//go:build race

package relay_test

import "time"

// raceSlack is what the race detector, on a busy machine, may add to a time.
const raceSlack = 500 * time.Millisecond
