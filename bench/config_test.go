package bench

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestConfigCheck(t *testing.T) {
	const whip, whep = "http://127.0.0.1:1/whip/live/a", "http://127.0.0.1:1/whep/live/a"
	tests := []struct {
		name   string
		change func(c *Config)
		want   string // part of the error; "" = none
	}{
		{"default", func(*Config) {}, ""},
		{"own-server", func(c *Config) { c.WHIP, c.WHEP, c.Serve = "", "", []string{"x"} }, ""},
		{"own-server-unknown", func(c *Config) { c.WHIP, c.WHEP = "", "" }, "no WHIP and WHEP URL"},
		{"own-server-with-pid", func(c *Config) { c.WHIP, c.WHEP, c.Serve, c.PID = "", "", []string{"x"}, 7 }, "process id"},
		{"one-url", func(c *Config) { c.WHEP = "" }, "both"},
		{"not-a-url", func(c *Config) { c.WHEP = "ftp://x" }, "not an http"},
		{"publishers-without-number", func(c *Config) { c.Publishers = 2 }, "{n}"},
		{"publishers-with-number", func(c *Config) { c.Publishers, c.WHIP = 2, whip+"{n}" }, ""},
		{"table-of-publishers", func(c *Config) { c.Table = TablePublishers }, "{n}"},
		{"table-unknown", func(c *Config) { c.Table = "x" }, "table"},
		{"all-stalled", func(c *Config) { c.Stalled = 10 }, "more viewers"},
		{"stalled-in-a-table", func(c *Config) { c.Table, c.Stalled = TableViewers, 1 }, "more viewers"},
		{"stalled-churn", func(c *Config) { c.Churn, c.Stalled = time.Second, 1 }, "do not churn"},
		{"churn-of-publishers", func(c *Config) { c.Churn, c.WHEP = time.Second, "" }, ""},
		{"churn-without-publisher", func(c *Config) { c.Churn, c.WHIP, c.Publishers = time.Second, "", 0 }, ""},
		{"churn-of-viewers-needs-whip", func(c *Config) { c.Churn, c.WHIP = time.Second, "" }, "WHIP"},
		{"no-publisher", func(c *Config) { c.Publishers = 0 }, "publisher"},
		{"no-viewer", func(c *Config) { c.Viewers = 0 }, "viewer"},
		{"no-window", func(c *Config) { c.Window = 0 }, "durations"},
		{"profile", func(c *Config) { c.Profile = "des" }, "profile"},
		{"fps", func(c *Config) { c.Stream.FPS = 0 }, "frames"},
		{"bitrate", func(c *Config) { c.Stream.BitrateBps = 1 }, "bitrate"},
		{"gop", func(c *Config) { c.Stream.GOP = 0 }, "key frame"},
		{"burst", func(c *Config) { c.Stream.Burst = -1 }, "burst"},
		{"repeat", func(c *Config) { c.Repeat = 0 }, "repeat"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := DefaultConfig()
			c.WHIP, c.WHEP = whip, whep
			test.change(&c)
			err := c.Check()
			if test.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, ErrConfig)
			require.ErrorContains(t, err, test.want)
		})
	}
}

func TestNumbered(t *testing.T) {
	e := endpoint{url: "http://h/a{n}/b{n}", token: "t{n}"}.numbered(12)
	require.Equal(t, "http://h/a12/b12", e.url)
	require.Equal(t, "t12", e.token)
}

func TestHostPort(t *testing.T) {
	for target, want := range map[string]string{
		"http://h/x": "h:http", "https://h": "h:https", "http://h:81/{n}": "h:81", "http://[::1]:5/": "[::1]:5",
	} {
		got, err := hostPort(target)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}
