package relay

import "time"

// RekeyEvery makes keys change that often.
func RekeyEvery(d time.Duration) func(*Config) { return func(c *Config) { c.rekeyEvery = d } }
