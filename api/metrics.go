package api

import (
	"net/http"
	"runtime"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"rheomesh/relay"
	"rheomesh/sfu"
)

// maxScrapes is how many scrapes may run at once; more are answered 503.
const maxScrapes = 4

// metric describes what one name stands for. Labels are from closed sets, so that what a node holds changes no series.
type metric struct {
	name, help string
	kind       prometheus.ValueType
	labels     []string
}

// Values of labels that several metrics have.
const (
	directionIn, directionOut = "in", "out" // from clients to the node, from the node to clients
	kindAudio, kindVideo      = "audio", "video"
)

// The metrics of the node, in the order in which collect sends them. What package sfu counts is read from its atomics at each
// scrape; nothing is kept here.
var (
	metricBuild       = metric{"rheomesh_build_info", "What the node was built as; always 1.", prometheus.GaugeValue, []string{"version", "go_version"}}
	metricStarted     = metric{"rheomesh_start_time_seconds", "When the node started, in seconds since the epoch.", prometheus.GaugeValue, nil}
	metricDraining    = metric{"rheomesh_draining", "1 while the node takes no new sessions.", prometheus.GaugeValue, nil}
	metricRouters     = metric{"rheomesh_routers", "Routers.", prometheus.GaugeValue, nil}
	metricPublishers  = metric{"rheomesh_publishers", "Publishers that a session feeds.", prometheus.GaugeValue, nil}
	metricSubscribers = metric{"rheomesh_subscribers", "Viewers that play or wait.", prometheus.GaugeValue, nil}
	metricSessions    = metric{"rheomesh_sessions", "Sessions, those that have not connected yet included.", prometheus.GaugeValue, []string{"role"}}
	metricHalfOpen    = metric{"rheomesh_half_open_sessions", "Sessions that were answered and have not connected yet.", prometheus.GaugeValue, nil}
	metricMaxSessions = metric{"rheomesh_sessions_limit", "Sessions that the node takes at most (limits.max_sessions).", prometheus.GaugeValue, nil}

	metricPackets    = metric{"rheomesh_rtp_packets_total", "RTP packets from publishers (in) and to viewers (out); packets sent again are not in it.", prometheus.CounterValue, []string{"direction", "kind"}}
	metricBytes      = metric{"rheomesh_rtp_bytes_total", "Bytes of RTP packets: from publishers as decrypted (in), to viewers as sent (out).", prometheus.CounterValue, []string{"direction", "kind"}}
	metricLost       = metric{"rheomesh_rtp_lost_packets_total", "RTP packets that publishers sent and that never came (in), or that viewers report as lost (out).", prometheus.CounterValue, []string{"direction"}}
	metricNACK       = metric{"rheomesh_nack_total", "Packets that viewers asked for again (in), and that publishers were asked for (out).", prometheus.CounterValue, []string{"direction"}}
	metricResent     = metric{"rheomesh_retransmitted_packets_total", "Packets that were sent to viewers again.", prometheus.CounterValue, nil}
	metricKeyframes  = metric{"rheomesh_keyframe_requests_total", "Keyframe requests of viewers (in) by what became of them, and those sent to publishers (out).", prometheus.CounterValue, []string{"direction", "result"}}
	metricSkips      = metric{"rheomesh_cursor_skips_total", "Times that a viewer was moved on because it could not keep up, by reason.", prometheus.CounterValue, []string{"reason"}}
	metricDiscarded  = metric{"rheomesh_discarded_packets_total", "Received packets that were of no use, by reason.", prometheus.CounterValue, []string{"reason"}}
	metricSocketDrop = metric{"rheomesh_socket_drops_total", "Datagrams that the kernel dropped because a receive buffer was full.", prometheus.CounterValue, []string{"listener"}}

	metricDataMessages = metric{"rheomesh_data_messages_total", "Data messages from clients, the API and other nodes (in), and to clients, counted once for each (out).", prometheus.CounterValue, []string{"direction"}}
	metricDataBytes    = metric{"rheomesh_data_bytes_total", "Bytes of data messages: from clients, the API and other nodes (in), and to clients (out).", prometheus.CounterValue, []string{"direction"}}
	metricDataDropped  = metric{"rheomesh_data_dropped_total", "Data messages that were dropped, and data channels that were refused, by reason.", prometheus.CounterValue, []string{"reason"}}

	metricDelay = metric{"rheomesh_forward_delay_seconds", "Time from the arrival of a packet until it was sent to viewers, of one packet per round of sending.", histogramType, nil}
	metricBatch = metric{"rheomesh_send_batch_packets", "Packets that one call to the kernel sent.", histogramType, nil}
	metricSetup = metric{"rheomesh_session_setup_seconds", "Time from a session's POST until it was connected.", histogramType, []string{"role"}}

	metricRelayPackets   = metric{"rheomesh_relay_packets_total", "Packets that relays sent to other nodes (out) and got from them (in); packets sent again are not in it.", prometheus.CounterValue, []string{"direction"}}
	metricRelayBytes     = metric{"rheomesh_relay_bytes_total", "Bytes of the packets that relays sent to other nodes (out) and got from them (in).", prometheus.CounterValue, []string{"direction"}}
	metricRelayLost      = metric{"rheomesh_relay_lost_packets_total", "Packets that other nodes sent, and that never came.", prometheus.CounterValue, nil}
	metricRelayRecovered = metric{"rheomesh_relay_recovered_packets_total", "Packets that other nodes sent again, or that came out of order.", prometheus.CounterValue, nil}
	metricRelayRejected  = metric{"rheomesh_relay_rejected_datagrams_total", "Datagrams at the relay listener that were dropped, by reason.", prometheus.CounterValue, []string{"reason"}}
	metricRelayData      = metric{"rheomesh_relay_data_messages_total", "Messages of data channels that relays sent to other nodes (out) and got from them (in).", prometheus.CounterValue, []string{"direction"}}
	metricRelayDataBytes = metric{"rheomesh_relay_data_bytes_total", "Bytes of the messages of data channels that relays sent to other nodes (out) and got from them (in).", prometheus.CounterValue, []string{"direction"}}
	metricRelayDataDrops = metric{"rheomesh_relay_data_dropped_messages_total", "Messages of data channels that a relay could not carry, for want of room or of who takes them.", prometheus.CounterValue, nil}
	metricRelayRTT       = metric{"rheomesh_relay_rtt_seconds", "Round trip to the farthest node that is linked; 0 without.", prometheus.GaugeValue, nil}

	metricRejected     = metric{"rheomesh_rejected_total", "What a limit refused, by reason.", prometheus.CounterValue, []string{"reason"}}
	metricStreams      = metric{"rheomesh_event_streams", "Open event streams of the REST API.", prometheus.GaugeValue, nil}
	metricSlowStreams  = metric{"rheomesh_event_streams_dropped_total", "Event streams that were ended because their reader was too slow.", prometheus.CounterValue, nil}
	metricWebhooks     = metric{"rheomesh_webhooks", "Registered webhooks.", prometheus.GaugeValue, nil}
	metricHookEvents   = metric{"rheomesh_webhook_events_total", "Events for webhooks by what became of them.", prometheus.CounterValue, []string{"result"}}
	metricHookFailures = metric{"rheomesh_webhook_failed_tries_total", "Tries of a webhook that its receiver did not take.", prometheus.CounterValue, nil}
	metricHookQueue    = metric{"rheomesh_webhook_queued_events", "Events that wait for a webhook.", prometheus.GaugeValue, nil}
	metricAdmission    = metric{"rheomesh_admission_total", "Questions to the admission webhook by answer.", prometheus.CounterValue, []string{"answer"}}
)

// histogramType stands for a kind that prometheus.ValueType has no value of.
const histogramType prometheus.ValueType = -1

// nodeMetrics lists them all.
var nodeMetrics = []metric{
	metricBuild, metricStarted, metricDraining, metricRouters, metricPublishers, metricSubscribers, metricSessions, metricHalfOpen, metricMaxSessions,
	metricPackets, metricBytes, metricLost, metricNACK, metricResent, metricKeyframes, metricSkips, metricDiscarded, metricSocketDrop,
	metricDataMessages, metricDataBytes, metricDataDropped,
	metricDelay, metricBatch, metricSetup,
	metricRelayPackets, metricRelayBytes, metricRelayLost, metricRelayRecovered, metricRelayRejected, metricRelayRTT,
	metricRelayData, metricRelayDataBytes, metricRelayDataDrops,
	metricRejected, metricStreams, metricSlowStreams, metricWebhooks, metricHookEvents, metricHookFailures, metricHookQueue, metricAdmission,
}

// newMetrics returns the registry of s: the node, its HTTP requests, the process and the Go runtime.
func newMetrics(s *Server) *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(newNodeCollector(s), s.requests, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return registry
}

// nodeCollector is a prometheus.Collector that asks the server at each scrape.
type nodeCollector struct {
	server       *Server
	descriptions map[string]*prometheus.Desc
}

func newNodeCollector(s *Server) *nodeCollector {
	c := &nodeCollector{server: s, descriptions: map[string]*prometheus.Desc{}}
	for _, m := range nodeMetrics {
		c.descriptions[m.name] = prometheus.NewDesc(m.name, m.help, m.labels, nil)
	}
	return c
}

// Describe implements prometheus.Collector.
func (c *nodeCollector) Describe(descriptions chan<- *prometheus.Desc) {
	for _, m := range nodeMetrics {
		descriptions <- c.descriptions[m.name]
	}
}

// Collect implements prometheus.Collector.
func (c *nodeCollector) Collect(metrics chan<- prometheus.Metric) {
	node := c.server.cfg.Node
	stats := node.Stats()
	scrape := scrape{c, metrics}
	scrape.node(node, stats)
	scrape.media(stats)
	if relays := c.server.cfg.Relay; relays != nil {
		scrape.relays(relays.Stats())
	}
	scrape.surface(c.server, stats)
}

// scrape sends the values of one scrape.
type scrape struct {
	*nodeCollector
	metrics chan<- prometheus.Metric
}

func (s scrape) value(m metric, value float64, labels ...string) {
	s.metrics <- prometheus.MustNewConstMetric(s.descriptions[m.name], m.kind, value, labels...)
}

func (s scrape) count(m metric, value uint64, labels ...string) {
	s.value(m, float64(value), labels...)
}

// counts sends one value for each key of a map, whose keys are a closed set.
func (s scrape) counts(m metric, values map[string]uint64) {
	for label, value := range values {
		s.count(m, value, label)
	}
}

func (s scrape) histogram(m metric, h sfu.Histogram, labels ...string) {
	cumulative, buckets := uint64(0), make(map[float64]uint64, len(h.Bounds))
	for i, bound := range h.Bounds {
		cumulative += h.Counts[i]
		buckets[bound] = cumulative
	}
	s.metrics <- prometheus.MustNewConstHistogram(s.descriptions[m.name], h.Count(), h.Sum, buckets, labels...)
}

func (s scrape) node(node *sfu.Node, stats sfu.NodeStats) {
	draining := 0.0
	if node.Draining() {
		draining = 1
	}
	s.value(metricBuild, 1, node.Version(), runtime.Version())
	s.value(metricStarted, float64(node.StartedAt().UnixMilli())/1000)
	s.value(metricDraining, draining)
	s.value(metricRouters, float64(stats.Routers))
	s.value(metricPublishers, float64(stats.Publishers))
	s.value(metricSubscribers, float64(stats.Subscribers))
	s.value(metricSessions, float64(stats.PublishSessions), sfu.RolePublish.String())
	s.value(metricSessions, float64(stats.SubscribeSessions), sfu.RoleSubscribe.String())
	s.value(metricHalfOpen, float64(stats.HalfOpen))
	s.value(metricMaxSessions, float64(node.Limits().MaxSessions))
}

func (s scrape) media(stats sfu.NodeStats) {
	s.count(metricPackets, stats.AudioPacketsIn, directionIn, kindAudio)
	s.count(metricPackets, stats.VideoPacketsIn, directionIn, kindVideo)
	s.count(metricPackets, stats.AudioPacketsOut, directionOut, kindAudio)
	s.count(metricPackets, stats.VideoPacketsOut, directionOut, kindVideo)
	s.count(metricBytes, stats.AudioBytesIn, directionIn, kindAudio)
	s.count(metricBytes, stats.VideoBytesIn, directionIn, kindVideo)
	s.count(metricBytes, stats.AudioBytesOut, directionOut, kindAudio)
	s.count(metricBytes, stats.VideoBytesOut, directionOut, kindVideo)
	s.count(metricLost, stats.LostIn, directionIn)
	s.count(metricLost, stats.LostOut, directionOut)
	s.count(metricNACK, stats.NACKsReceived, directionIn)
	s.count(metricNACK, stats.NACKsSent, directionOut)
	s.count(metricResent, stats.Retransmitted)
	for result, count := range stats.KeyframeRequests {
		s.count(metricKeyframes, count, directionIn, result)
	}
	s.count(metricKeyframes, stats.KeyframeRequestsSent, directionOut, "sent")
	s.counts(metricSkips, stats.Skipped)
	s.counts(metricDiscarded, map[string]uint64{
		"malformed-rtp": stats.MalformedRTP, "malformed-rtcp": stats.MalformedRTCP, "not-authentic": stats.UnopenedRTP,
		"unknown-track": stats.UnresolvedRTP, "from-viewer": stats.UnexpectedRTP, "unknown-session": stats.UnknownDatagrams,
	})
	s.count(metricSocketDrop, stats.SocketDrops, "media")
	s.count(metricDataMessages, stats.Data.MessagesIn, directionIn)
	s.count(metricDataMessages, stats.Data.MessagesOut, directionOut)
	s.count(metricDataBytes, stats.Data.BytesIn, directionIn)
	s.count(metricDataBytes, stats.Data.BytesOut, directionOut)
	s.counts(metricDataDropped, stats.Data.Dropped)
	s.histogram(metricDelay, stats.ForwardDelay)
	s.histogram(metricBatch, stats.SendBatch)
	for _, role := range []sfu.Role{sfu.RolePublish, sfu.RoleSubscribe} {
		s.histogram(metricSetup, stats.SessionSetup[role], role.String())
	}
}

func (s scrape) relays(stats relay.Stats) {
	s.count(metricRelayPackets, stats.PacketsIn, directionIn)
	s.count(metricRelayPackets, stats.PacketsOut, directionOut)
	s.count(metricRelayBytes, stats.BytesIn, directionIn)
	s.count(metricRelayBytes, stats.BytesOut, directionOut)
	s.count(metricRelayLost, stats.Lost)
	s.count(metricRelayRecovered, stats.Recovered)
	s.counts(metricRelayRejected, stats.Rejected)
	s.count(metricRelayData, stats.DataMessagesIn, directionIn)
	s.count(metricRelayData, stats.DataMessagesOut, directionOut)
	s.count(metricRelayDataBytes, stats.DataBytesIn, directionIn)
	s.count(metricRelayDataBytes, stats.DataBytesOut, directionOut)
	s.count(metricRelayDataDrops, stats.DataDropped)
	s.value(metricRelayRTT, stats.RoundTrip.Seconds())
	s.count(metricSocketDrop, stats.SocketDrops, "relay")
}

func (s scrape) surface(server *Server, stats sfu.NodeStats) {
	s.counts(metricRejected, stats.Rejected)
	s.counts(metricRejected, server.Rejected())
	s.value(metricStreams, float64(len(server.streams)))
	s.count(metricSlowStreams, server.events.slowReaders.Load())
	totals := server.webhooks.Totals()
	s.value(metricWebhooks, float64(server.webhooks.Len()))
	s.counts(metricHookEvents, map[string]uint64{"delivered": totals.Delivered, "dropped": totals.Dropped, "expired": totals.Expired})
	s.count(metricHookFailures, totals.Failed)
	s.value(metricHookQueue, float64(totals.Queued))
	var admitted, refused, failed uint64
	if server.cfg.Admission != nil {
		admitted, refused, failed = server.cfg.Admission.Answers()
	}
	s.counts(metricAdmission, map[string]uint64{"admitted": admitted, "refused": refused, "failed": failed})
}

// metricsHandler serves the registry.
func (s *Server) metricsHandler() http.Handler {
	return promhttp.HandlerFor(newMetrics(s), promhttp.HandlerOpts{MaxRequestsInFlight: maxScrapes})
}

// showMetrics shows the node's counters to Prometheus.
//
//	@Summary	Metrics in the text format of Prometheus
//	@ID			showMetrics
//	@Tags		node
//	@Security	Bearer
//	@Produce	plain
//	@Success	200	{string}	string	"Metrics"
//	@Failure	401	{object}	Problem	"A credential is needed"
//	@Failure	403	{object}	Problem	"The credential does not permit this"
//	@Failure	429	{object}	Problem	"Too many requests; Retry-After tells when to come again"
//	@Router		/metrics [get]
func (s *Server) showMetrics(c echo.Context) error {
	if err := principalOf(c).mayNode(); err != nil {
		return err
	}
	s.metrics.ServeHTTP(c.Response(), c.Request())
	return nil
}
