package api

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
)

// Label values for what clients invent: methods and paths that nobody serves.
const (
	otherMethod = "other"
	noRoute     = "none"
)

var knownMethods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions,
}

// requestMetrics counts HTTP requests by route pattern. It is a prometheus.Collector.
type requestMetrics struct {
	total    *prometheus.CounterVec
	duration *prometheus.HistogramVec
	routes   map[string]bool // the patterns; fixed once the server is built
}

func newRequestMetrics() *requestMetrics {
	return &requestMetrics{
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rheomesh_http_requests_total", Help: "HTTP requests that were answered, by route pattern.",
		}, []string{"method", "route", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "rheomesh_http_request_duration_seconds", Help: "Time to answer an HTTP request, event streams excepted, by route pattern.",
			Buckets: []float64{0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10},
		}, []string{"method", "route"}),
		routes: map[string]bool{},
	}
}

// know takes the patterns of all routes.
func (m *requestMetrics) know(routes []*echo.Route) {
	for _, route := range routes {
		m.routes[route.Path] = true
	}
}

// Describe implements prometheus.Collector.
func (m *requestMetrics) Describe(descriptions chan<- *prometheus.Desc) {
	m.total.Describe(descriptions)
	m.duration.Describe(descriptions)
}

// Collect implements prometheus.Collector.
func (m *requestMetrics) Collect(metrics chan<- prometheus.Metric) {
	m.total.Collect(metrics)
	m.duration.Collect(metrics)
}

// middleware counts what is inside it, which must have answered errors too.
func (m *requestMetrics) middleware(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		start := time.Now()
		err := next(c)
		method, route := c.Request().Method, c.Path()
		if !slices.Contains(knownMethods, method) {
			method = otherMethod
		}
		if !m.routes[route] {
			route = noRoute
		}
		m.total.WithLabelValues(method, route, strconv.Itoa(c.Response().Status)).Inc()
		if !strings.HasPrefix(c.Response().Header().Get(echo.HeaderContentType), "text/event-stream") {
			m.duration.WithLabelValues(method, route).Observe(time.Since(start).Seconds())
		}
		return err
	}
}
