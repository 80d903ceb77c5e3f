package bench

import (
	"runtime"
	"time"
)

// Report is the outcome of a bench, and its JSON form.
type Report struct {
	Started time.Time `json:"started"`
	Server  string    `json:"server"` // WHEP URL, or the command line of the own server
	System  string    `json:"system"` // operating system and architecture
	Cores   int       `json:"cores"`  // that server and load share, when both are on this machine
	Stream  Stream    `json:"stream"`
	Window  float64   `json:"window_seconds"`
	Rows    []Row     `json:"rows,omitempty"`
	Churn   *Churn    `json:"churn,omitempty"`
	Notes   []string  `json:"notes"`
}

// Row is one number of publishers and viewers, measured several times.
type Row struct {
	Publishers int      `json:"publishers"`
	Viewers    int      `json:"viewers"`
	Worst      Result   `json:"worst"` // of each figure the worst of all runs
	Runs       []Result `json:"runs"`
}

// Result is one run. Packets are RTP packets that viewers received, unless said otherwise.
type Result struct {
	Profile string `json:"srtp_profile"` // as negotiated by the first viewer

	ServerMicros float64 `json:"server_us_per_packet"` // CPU time, user and system, over packets of all viewers; 0 = not measured
	ServerCores  float64 `json:"server_cores"`         // CPU time over time
	LoadMicros   float64 `json:"load_us_per_packet"`   // what the load itself cost, publishers included
	OtherCores   float64 `json:"other_cores"`          // CPU time of everything else on the machine over time: how much it disturbed
	FloorMicros  float64 `json:"floor_us_per_packet"`  // see RunFloor; 0 = not measured
	FloorRatio   float64 `json:"floor_ratio"`          // ServerMicros over FloorMicros

	PacketsPerSecond float64 `json:"packets_per_second"`
	MegabitPerSecond float64 `json:"megabit_per_second"`
	Published        uint64  `json:"published_packets"` // sent by publishers in the window
	Received         uint64  `json:"received_packets"`
	Lost             uint64  `json:"lost_packets"` // gaps in the sequence numbers that were not filled
	LostPercent      float64 `json:"lost_percent"`
	Duplicates       uint64  `json:"duplicate_packets"`
	Retransmitted    uint64  `json:"rtx_packets"`
	Unstamped        uint64  `json:"unstamped_packets"` // sampled for delay, but the stamp did not survive
	WithoutMedia     int     `json:"viewers_without_media"`

	Delay      Spread `json:"delay"`       // one way, publisher to viewer
	FirstFrame Spread `json:"first_frame"` // POST to first decodable frame
	Connect    Spread `json:"connect"`     // POST to SRTP keys

	RSSPerViewerKB float64 `json:"rss_per_viewer_kb"` // growth of the server's resident memory over viewers
	RSSMB          float64 `json:"rss_mb"`            // at the end of the window
	Threads        int     `json:"threads"`
	Descriptors    int     `json:"descriptors"`

	// Disturbance is there when some viewers stalled or were slow. The figures above are of the window in which they did.
	Disturbance *Disturbance `json:"disturbance,omitempty"`
}

// Disturbance is what misbehaving viewers did to the others.
type Disturbance struct {
	Stalled       int     `json:"stalled"`
	Slow          int     `json:"slow"`
	DelayBefore   Spread  `json:"delay_before"`
	AddedP99MS    float64 `json:"added_p99_ms"`
	ServerBefore  float64 `json:"server_us_per_packet_before"`
	LostBefore    uint64  `json:"lost_packets_before"`
	OthersLost    uint64  `json:"lost_packets_of_others"`
	OthersWithout int     `json:"others_without_media"`
}

// Churn is the outcome of joining and leaving.
type Churn struct {
	Seconds           float64 `json:"seconds"`
	Clients           int     `json:"clients"` // at once
	Sessions          uint64  `json:"sessions"`
	Failed            uint64  `json:"failed"`
	FirstFailure      string  `json:"first_failure,omitempty"`
	PerSecond         float64 `json:"sessions_per_second"`
	ServerMSPerSess   float64 `json:"server_ms_per_session"` // CPU; 0 = not measured
	LoadMSPerSess     float64 `json:"load_ms_per_session"`
	Connect           Spread  `json:"connect"` // POST to SRTP keys
	Before            Usage   `json:"server_before"`
	After             Usage   `json:"server_after"` // a moment after the last DELETE
	DescriptorsGrowth int     `json:"descriptors_growth"`
	RSSGrowthKB       float64 `json:"rss_growth_kb"`
}

// result turns a window into figures.
func (l *load) result(w window, without int) Result {
	r := Result{
		ServerMicros: per(micros(w.server), w.packets), LoadMicros: per(micros(w.load), w.packets),
		ServerCores: per(float64(w.server), w.length), OtherCores: max(0, per(float64(w.machine-w.server-w.load), w.length)),
		PacketsPerSecond: per(float64(w.packets), w.length.Seconds()),
		MegabitPerSecond: per(float64(w.bytes)*8/1e6, w.length.Seconds()),
		Published:        w.sent, Received: w.packets, Lost: w.missing, Duplicates: w.duplicates, Retransmitted: w.resent,
		Unstamped: w.unstamped, WithoutMedia: max(without, w.silent), Delay: spread(w.delay),
	}
	r.LostPercent = per(100*float64(w.missing), w.missing+w.packets)
	var first, connect []time.Duration
	for _, v := range l.viewers {
		connect = append(connect, v.link.setup)
		v.mu.Lock()
		if v.firstFrame != 0 {
			first = append(first, time.Duration(v.firstFrame-v.link.resource.posted.UnixNano()))
		}
		r.Profile = v.keys.profile
		v.mu.Unlock()
	}
	r.FirstFrame, r.Connect = spread(first), spread(connect)
	return r
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// worst takes of each figure the worst of all runs.
func worst(runs []Result) Result {
	w := runs[0]
	for _, r := range runs[1:] {
		w.OtherCores = max(w.OtherCores, r.OtherCores)
		w.ServerMicros, w.ServerCores = max(w.ServerMicros, r.ServerMicros), max(w.ServerCores, r.ServerCores)
		w.LoadMicros = max(w.LoadMicros, r.LoadMicros)
		w.FloorMicros = min(w.FloorMicros, r.FloorMicros) // the lowest is the strictest
		w.FloorRatio = max(w.FloorRatio, r.FloorRatio)
		w.PacketsPerSecond, w.MegabitPerSecond = min(w.PacketsPerSecond, r.PacketsPerSecond), min(w.MegabitPerSecond, r.MegabitPerSecond)
		w.Published, w.Received = min(w.Published, r.Published), min(w.Received, r.Received)
		w.Lost, w.LostPercent = max(w.Lost, r.Lost), max(w.LostPercent, r.LostPercent)
		w.Duplicates, w.Retransmitted, w.Unstamped = max(w.Duplicates, r.Duplicates), max(w.Retransmitted, r.Retransmitted), max(w.Unstamped, r.Unstamped)
		w.WithoutMedia = max(w.WithoutMedia, r.WithoutMedia)
		w.Delay, w.FirstFrame, w.Connect = w.Delay.worst(r.Delay), w.FirstFrame.worst(r.FirstFrame), w.Connect.worst(r.Connect)
		w.RSSPerViewerKB, w.RSSMB = max(w.RSSPerViewerKB, r.RSSPerViewerKB), max(w.RSSMB, r.RSSMB)
		w.Threads, w.Descriptors = max(w.Threads, r.Threads), max(w.Descriptors, r.Descriptors)
		if r.Disturbance != nil && r.Disturbance.AddedP99MS > w.Disturbance.AddedP99MS {
			w.Disturbance = r.Disturbance
		}
	}
	return w
}

func (s Spread) worst(o Spread) Spread {
	return Spread{P50MS: max(s.P50MS, o.P50MS), P99MS: max(s.P99MS, o.P99MS), MaxMS: max(s.MaxMS, o.MaxMS), Samples: min(s.Samples, o.Samples)}
}

func newReport(c Config) Report {
	r := Report{
		Started: time.Now().UTC(), Server: c.WHEP, System: runtime.GOOS + "/" + runtime.GOARCH, Cores: runtime.NumCPU(),
		Stream: c.Stream, Window: c.Window.Seconds(), Notes: []string{},
	}
	if r.Server == "" {
		r.Server = c.WHIP
	}
	return r
}
