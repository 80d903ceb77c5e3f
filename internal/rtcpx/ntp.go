package rtcpx

import "time"

// ntpEpoch is the Unix time of 1900-01-01, seconds, where NTP era 0 begins (RFC 5905 section 6).
const ntpEpoch = -2208988800

// NTP returns t in 64-bit NTP format: seconds since 1900 above, 2^-32 s below, rounded to the nearest.
func NTP(t time.Time) uint64 {
	seconds := uint64(t.Unix() - ntpEpoch)
	fraction := (uint64(t.Nanosecond())<<32 + 5e8) / 1e9
	return seconds<<32 + fraction
}

// NTPTime returns the time of a 64-bit NTP timestamp, in UTC, to the nearest nanosecond. Seconds below 2^31 belong to the
// era that begins in 2036, so the result lies between 1968 and 2104 (RFC 4330 section 3).
func NTPTime(ntp uint64) time.Time {
	seconds := int64(ntp >> 32)
	if seconds < 1<<31 {
		seconds += 1 << 32
	}
	nanoseconds := (ntp&(1<<32-1)*1e9 + 1<<31) >> 32
	return time.Unix(seconds+ntpEpoch, int64(nanoseconds)).UTC()
}

// MiddleNTP returns the middle 32 bits of an NTP timestamp, 1/65536 s, as report blocks carry it (RFC 3550 section 6.4.1).
func MiddleNTP(ntp uint64) uint32 {
	return uint32(ntp >> 16)
}
