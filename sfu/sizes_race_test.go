//go:build race

package sfu

// churnSessions is fewer under the race detector, which makes a handshake slow.
const churnSessions = 160
