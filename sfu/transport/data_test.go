package transport

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestData hands a client's packets on until whoever takes them has had enough; the session goes on, and ends with the client's goodbye.
func TestData(t *testing.T) {
	s := newServer(t)
	got, ended := make(chan string, 1), make(chan error, 1)
	c, session := pairUp(t, s, func(p *Peer) {
		p.Data = func(link net.Conn, initiate bool) {
			require.False(t, initiate)
			buffer := make([]byte, 1<<10)
			n, err := link.Read(buffer)
			got <- string(buffer[:n])
			require.NoError(t, err)
			_, err = link.Write([]byte("pong"))
			require.NoError(t, err)
			require.NoError(t, link.Close())
			_, err = link.Read(buffer)
			ended <- err
		}
	})
	c.connect(session)
	_, err := c.link.Write([]byte("ping"))
	require.NoError(t, err)
	require.Equal(t, "ping", <-got)
	answer := make([]byte, 1<<10)
	n, err := c.link.Read(answer)
	require.NoError(t, err)
	require.Equal(t, "pong", string(answer[:n]))
	require.ErrorIs(t, <-ended, net.ErrClosed)
	for range 300 { // more than pion/dtls queues
		_, err := c.link.Write(make([]byte, 1000))
		require.NoError(t, err)
		c.settle()
	}
	require.True(t, session.Connected())
	require.NoError(t, c.link.Close())
	session.waitClosed(CausePeer)
}

// TestOpenData begins without a packet of the client, and ends with the session.
func TestOpenData(t *testing.T) {
	s := newServer(t)
	begun, ended := make(chan bool, 1), make(chan error, 1)
	c, session := pairUp(t, s, func(p *Peer) {
		p.Data = func(link net.Conn, initiate bool) {
			begun <- initiate
			_, err := link.Read(make([]byte, 1))
			ended <- err
		}
	})
	session.OpenData()
	select {
	case <-begun:
		t.Fatal("before the session was connected")
	case <-time.After(time.Millisecond):
	}
	c.connect(session)
	session.OpenData()
	session.OpenData()
	require.True(t, <-begun)
	session.Close()
	require.Error(t, <-ended)
}
