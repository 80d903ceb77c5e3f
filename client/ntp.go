package client

import "time"

// ntpEpoch is 1 January 1900, from which NTP counts seconds (RFC 5905 §6).
var ntpEpoch = time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC)

// toNTP is t as a 64-bit NTP timestamp: seconds in the upper half, their fraction in the lower.
func toNTP(t time.Time) uint64 {
	seconds := uint64(t.Unix() - ntpEpoch.Unix())
	fraction := (uint64(t.Nanosecond())<<32 + uint64(time.Second)/2) / uint64(time.Second)
	return seconds<<32 + fraction
}

// fromNTP is the reverse of toNTP, to the nanosecond.
func fromNTP(ntp uint64) time.Time {
	nanoseconds := (ntp&0xffffffff*uint64(time.Second) + 1<<31) >> 32
	return time.Unix(int64(ntp>>32)+ntpEpoch.Unix(), int64(nanoseconds))
}
