package api

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"rheomesh/api/webhook"
	"rheomesh/sfu"
)

func anyRecord(*record) bool { return true }

// newTestFeed is a feed that nobody fills.
func newTestFeed(t *testing.T) (f *feed, delivered *[]webhook.Event) {
	delivered = &[]webhook.Event{}
	s := newTestServer(t, nil)
	f = newFeed(s.cfg.Node, s.showEvent, func(e webhook.Event) { *delivered = append(*delivered, e) })
	return f, delivered
}

func (f *feed) addTest(seq uint64, at time.Time, padding int) {
	f.add(f.render(sfu.Event{Seq: seq, Type: sfu.EventPublisherLive, RouterID: "live", Time: at}, strings.Repeat("x", padding)))
}

func seqs(found reading) (list []uint64) {
	for _, r := range found.records {
		list = append(list, r.seq)
	}
	return list
}

func TestHistoryIsBounded(t *testing.T) {
	now := time.Now()
	t.Run("in events", func(t *testing.T) {
		f, _ := newTestFeed(t)
		for seq := range uint64(historyEvents) {
			f.addTest(seq+1, now, 0)
		}
		require.Zero(t, f.oldest(), "at the limit")
		f.addTest(historyEvents+1, now, 0)
		require.EqualValues(t, 1, f.oldest())
	})
	t.Run("in bytes", func(t *testing.T) {
		f, _ := newTestFeed(t)
		for seq := range uint64(10) {
			f.addTest(seq+1, now, historyBytes/4)
		}
		require.EqualValues(t, 7, f.oldest())
		f.addTest(11, now, 2*historyBytes)
		require.EqualValues(t, 10, f.oldest(), "a giant is there alone")
	})
	t.Run("in time", func(t *testing.T) {
		f, _ := newTestFeed(t)
		f.addTest(1, now.Add(-historyAge-time.Second), 0)
		f.addTest(2, now.Add(-time.Second), 0)
		f.addTest(3, now, 0)
		require.EqualValues(t, 1, f.oldest())
	})
}

func TestReadIsInBatches(t *testing.T) {
	f, _ := newTestFeed(t)
	for seq := range uint64(readBatch + 10) {
		f.addTest(seq+1, time.Now(), 0)
	}
	found := f.read(0, anyRecord)
	require.Len(t, found.records, readBatch)
	require.Nil(t, found.changed, "there is more already")
	require.False(t, found.missed)
	found = f.read(found.next, func(r *record) bool { return r.seq == readBatch+5 })
	require.Equal(t, []uint64{readBatch + 5}, seqs(found))
	require.EqualValues(t, readBatch+10, found.next, "what does not match is passed over")
	require.NotNil(t, found.changed)
	f.addTest(readBatch+11, time.Now(), 0)
	<-found.changed
	require.Equal(t, []uint64{readBatch + 11}, seqs(f.read(found.next, anyRecord)))
}

func TestReaderBehindTheHistory(t *testing.T) {
	f, _ := newTestFeed(t)
	for seq := range uint64(historyEvents + 100) {
		f.addTest(seq+1, time.Now(), 0)
	}
	require.False(t, f.read(100, anyRecord).missed)
	found := f.read(99, anyRecord)
	require.True(t, found.missed)
	require.EqualValues(t, 101, found.records[0].seq)
}

// TestFeedOfANode sees that events of every kind carry their resource, that webhooks get the same bytes, and that what is
// emitted before the end is not lost.
func TestFeedOfANode(t *testing.T) {
	f, delivered := newTestFeed(t)
	f.start()
	f.start()
	_, _, err := f.node.PutRouter("stage", sfu.RouterConfig{Metadata: map[string]string{"a": "b"}})
	require.NoError(t, err)
	require.NoError(t, f.node.DeleteRouter("stage"))
	f.node.SetDraining(true)
	f.close()
	f.close()
	found := f.read(f.oldest(), anyRecord)
	require.True(t, found.ended)
	require.Len(t, found.records, 3)
	require.Len(t, *delivered, 3)
	for i, want := range []struct {
		kind sfu.EventType
		data string
	}{{sfu.EventRouterCreated, `"metadata":{"a":"b"}`}, {sfu.EventRouterDeleted, `"id":"stage"`}, {sfu.EventNodeDraining, `"draining":true`}} {
		var v struct {
			eventView
			Data json.RawMessage `json:"data"`
		}
		require.NoError(t, json.Unmarshal(found.records[i].body, &v))
		assert.Equal(t, want.kind, v.Type)
		assert.Equal(t, sfu.NodeID("node-1"), v.NodeID)
		assert.Equal(t, found.records[i].id, v.ID)
		assert.Contains(t, string(v.Data), want.data)
		assert.WithinDuration(t, time.Now(), v.Time, time.Minute)
		assert.Equal(t, time.UTC, v.Time.Location())
		assert.Equal(t, found.records[i].body, (*delivered)[i].Body)
		assert.Equal(t, v.ID, (*delivered)[i].ID)
		assert.NotContains(t, v.ID, ".")
	}
}

// TestOverflowIsTold lets more happen at once than a listener of the node may be late.
func TestOverflowIsTold(t *testing.T) {
	f, _ := newTestFeed(t)
	listening := f.node.Listen(nil)
	for n := range 200 {
		id := sfu.RouterID(fmt.Sprint("r", n))
		_, _, err := f.node.PutRouter(id, sfu.RouterConfig{})
		require.NoError(t, err)
		require.NoError(t, f.node.DeleteRouter(id))
	}
	listening.Close()
	f.pump(listening)
	found := f.read(0, anyRecord)
	require.Equal(t, eventLost, found.records[0].kind)
	require.Contains(t, string(found.records[0].body), `"data":{"reason":"overflow"}`)
	require.Equal(t, found.records[0].seq+1, found.records[1].seq)
	require.EqualValues(t, listening.Missed(), found.records[0].seq-listening.Start())
}

func TestEventIDs(t *testing.T) {
	f, _ := newTestFeed(t)
	seq, ok := f.seqOf(f.eventID(7))
	require.True(t, ok)
	require.EqualValues(t, 7, seq)
	other, _ := newTestFeed(t)
	for _, id := range []string{"", "7", "evt-", other.eventID(7), f.eventID(7) + "x", "evt-" + f.run + "--1", f.eventID(7) + "\n"} {
		_, ok := f.seqOf(id)
		assert.False(t, ok, id)
	}
}

// TestEventTypesAreKnown compares the list with the constants of package sfu that it emits.
func TestEventTypesAreKnown(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../sfu/events.go", nil, 0)
	require.NoError(t, err)
	emitted := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 || !strings.HasPrefix(spec.Names[0].Name, "Event") {
			return true
		}
		name, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		require.NoError(t, err)
		emitted++
		assert.True(t, slices.Contains(eventTypes, sfu.EventType(name)), "%s: add it to eventTypes and to docs/events.md", name)
		return true
	})
	require.Equal(t, len(eventTypes), emitted+len(relayEvents))
}
