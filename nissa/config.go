package nissa

import (
	"log/slog"
	"time"

	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/supervise"
)

// Config configures a [Service].
type Config struct {
	Bus      *oona.Client  // connected; stays the caller's to close
	HTTPAddr string        // default 127.0.0.1:9100
	Group    string        // consumer group; default "nissa-service"
	Streams  oona.Streams  // those of the bus client; empty names get their defaults
	Limits   Limits        // bounds of what is kept
	Stop     time.Duration // bound of a stop; default 8 s
	Logger   *slog.Logger

	// Beside are more workers of the process, started first and stopped last.
	Beside []supervise.Spec
}

// Limits bounds what senders can make the service remember.
type Limits struct {
	Series      int           // gauges from metric points; default 10,000
	SeriesTTL   time.Duration // a gauge not heard of for this long disappears; default 15 min
	LabelValues int           // distinct values of a counter's label, the rest is "other"; default 64
	Recent      int           // packet ids remembered to tell repeats; default 8,192
}

func (c Config) withDefaults() Config {
	if c.HTTPAddr == "" {
		c.HTTPAddr = "127.0.0.1:9100"
	}
	if c.Group == "" {
		c.Group = "nissa-service"
	}
	c.Streams = streamsWithDefaults(c.Streams)
	c.Limits = c.Limits.withDefaults()
	if c.Stop <= 0 {
		c.Stop = 8 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func streamsWithDefaults(s oona.Streams) oona.Streams {
	defaults := oona.DefaultStreams()
	if s.Normal == "" {
		s.Normal = defaults.Normal
	}
	if s.Emergency == "" {
		s.Emergency = defaults.Emergency
	}
	if s.Telemetry == "" {
		s.Telemetry = defaults.Telemetry
	}
	return s
}

func (l Limits) withDefaults() Limits {
	if l.Series <= 0 {
		l.Series = 10_000
	}
	if l.SeriesTTL <= 0 {
		l.SeriesTTL = 15 * time.Minute
	}
	if l.LabelValues <= 0 {
		l.LabelValues = 64
	}
	if l.Recent <= 0 {
		l.Recent = 8192
	}
	return l
}
