package bench

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// Print writes the report as a table.
func (r Report) Print(w io.Writer) error {
	s := r.Stream
	fmt.Fprintf(w, "%s, %d cores; %s\n", r.System, r.Cores, r.Server)
	fmt.Fprintf(w, "H.264 %.1f Mbit/s, %d frames/s, key frame every %s, Opus 50/s; window %.0f s\n\n", float64(s.BitrateBps)/1e6, s.FPS, s.GOP, r.Window)
	var err error
	if r.Churn != nil {
		err = r.Churn.print(w)
	} else {
		err = r.printRows(w)
	}
	for _, note := range r.Notes {
		fmt.Fprintln(w, "note:", note)
	}
	return err
}

func (r Report) printRows(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "pub\tviewers\tserver µs/packet\tserver cores\tfloor µs\tratio\tload µs\tpackets/s\tlost\tdelay p50/p99 ms\tfirst frame p50/p99 ms\tkB/viewer\t")
	for _, row := range r.Rows {
		v := row.Worst
		fmt.Fprintf(table, "%d\t%d\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.0f\t%d\t%.2f / %.2f\t%.0f / %.0f\t%.0f\t\n",
			row.Publishers, row.Viewers, v.ServerMicros, v.ServerCores, v.FloorMicros, v.FloorRatio, v.LoadMicros, v.PacketsPerSecond,
			v.Lost, v.Delay.P50MS, v.Delay.P99MS, v.FirstFrame.P50MS, v.FirstFrame.P99MS, v.RSSPerViewerKB)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	for _, row := range r.Rows {
		row.Worst.printDetails(w, row.Viewers)
	}
	return nil
}

// printDetails writes what has no column.
func (v Result) printDetails(w io.Writer, viewers int) {
	fmt.Fprintf(w, "%d viewers: %s; connect p50/p99 %.1f / %.1f ms; %d delays sampled; %d duplicates, %d retransmitted; server %.0f MB, %d threads, %d descriptors; others used %.2f cores\n",
		viewers, v.Profile, v.Connect.P50MS, v.Connect.P99MS, v.Delay.Samples, v.Duplicates, v.Retransmitted, v.RSSMB, v.Threads, v.Descriptors, v.OtherCores)
	if v.WithoutMedia > 0 {
		fmt.Fprintf(w, "%d viewers: %d without media\n", viewers, v.WithoutMedia)
	}
	if d := v.Disturbance; d != nil {
		fmt.Fprintf(w, "%d stalled and %d slow viewers: the others' p99 %.2f -> %.2f ms (%+.2f), %d packets lost (%d before), server %.2f -> %.2f µs/packet\n",
			d.Stalled, d.Slow, d.DelayBefore.P99MS, v.Delay.P99MS, d.AddedP99MS, d.OthersLost, d.LostBefore, d.ServerBefore, v.ServerMicros)
	}
}

func (c *Churn) print(w io.Writer) error {
	_, err := fmt.Fprintf(w, `%.1f sessions/s (%d in %.1f s, %d clients at once), %d failed %s
server %.2f ms CPU per session, load %.2f ms
connect p50/p99 %.1f / %.1f ms
server after: %+d descriptors, %+.0f kB resident, %d threads (%d before)
`,
		c.PerSecond, c.Sessions, c.Seconds, c.Clients, c.Failed, c.FirstFailure, c.ServerMSPerSess, c.LoadMSPerSess,
		c.Connect.P50MS, c.Connect.P99MS, c.DescriptorsGrowth, c.RSSGrowthKB, c.After.Threads, c.Before.Threads)
	return err
}
