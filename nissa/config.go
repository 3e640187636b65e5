package nissa

import (
	"cmp"
	"context"
	"crypto/rand"
	"log/slog"
	"time"

	"github.com/esper-lite/weatherlight/internal/httpserver"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/telemetry"
)

// Config configures a [Service].
type Config struct {
	Bus       *oona.Client       // connected; stays the caller's to close
	Name      string             // that of the bus client's consumer, the same after a restart; default: any
	HTTP      HTTP               // where it answers, and whom
	Group     string             // consumer group; default "nissa-service"
	Streams   oona.Streams       // those of the bus client; empty names get their defaults
	Limits    Limits             // bounds of what is kept in memory
	Store     Store              // where runs are kept
	Documents Documents          // where messages are kept as documents
	Points    []telemetry.Series // name and HELP of the series of metric points that are known
	Features  []string           // whose coverage is shown feature by feature; default all
	Stop      time.Duration      // bound of a stop; default 8 s
	Logger    *slog.Logger

	// Alerts is how alerts are looked for; nil: they are not.
	Alerts *Alerts

	// Beside are more workers of the process, started first and stopped last.
	Beside []supervise.Spec
}

// HTTP says where a service answers, and whom.
type HTTP struct {
	Addr string // default 127.0.0.1:9100
	// Tokens let in who changes something, and on an address that other machines reach whoever asks more
	// than whether the service is well: that needs one. nil: there is none. It is asked again now and then.
	Tokens func() ([]string, error)
	// CertFile and KeyFile are PEM, and read again when they change; empty: plain HTTP.
	CertFile, KeyFile string
}

// listener is what the names of the settings of Nissa begin with, and what they say.
func (h HTTP) listener() httpserver.Config {
	return httpserver.Config{Env: "NISSA_HTTP", Addr: h.Addr, Tokens: h.Tokens, CertFile: h.CertFile, KeyFile: h.KeyFile}
}

// Check asks what a start will need of it, and opens nothing. Its error names the setting.
func (h HTTP) Check(ctx context.Context) error { return h.listener().Check(ctx) }

// Store says where what is told of runs is kept, and how much of it. Zero values of the
// bounds take the default in brackets.
type Store struct {
	URL       string        // sqlite:///path, or postgres://host/name for several services; empty: runs are not kept
	Retention time.Duration // age at which what is kept is removed [30 days]
	MaxBytes  int64         // size from which the oldest makes room [1 GiB]
}

// Documents says where messages are kept as documents. Nothing waits for it.
type Documents struct {
	URL      string // of Elasticsearch or OpenSearch, with who asks; empty: none are kept
	Dir      string // folder in which they wait, which no other process may have
	MaxBytes int64  // that wait there; zero takes the default of 256 MiB
}

// Alerts configures alerting. What is known of alerts is in the store, if there is one, and
// otherwise ends with the service.
type Alerts struct {
	// Rules is the text of the rules, and the folder of the files that it names. It is asked
	// again by [Service.Reload].
	Rules func() (text []byte, folder string, err error)
}

// Limits bounds what senders can make the service remember.
type Limits struct {
	Series int // gauges from metric points; default 10,000
	// SeriesOfSource bounds those of one source; default half of all, at least 64.
	SeriesOfSource int
	SeriesTTL      time.Duration // a gauge not heard of for this long disappears; default 15 min
	LabelValues    int           // distinct values of a counter's label, the rest is "other"; default 64
	Recent         int           // packet ids remembered to tell repeats; default 8,192
}

func (c Config) withDefaults() Config {
	c.HTTP.Addr = cmp.Or(c.HTTP.Addr, "127.0.0.1:9100")
	c.Name = cmp.Or(c.Name, rand.Text())
	c.Group = cmp.Or(c.Group, "nissa-service")
	c.Streams = streamsWithDefaults(c.Streams)
	c.Limits = c.Limits.withDefaults()
	c.Stop = cmp.Or(max(c.Stop, 0), 8*time.Second)
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	return c
}

func streamsWithDefaults(s oona.Streams) oona.Streams {
	defaults := oona.DefaultStreams()
	s.Normal = cmp.Or(s.Normal, defaults.Normal)
	s.Emergency = cmp.Or(s.Emergency, defaults.Emergency)
	s.Telemetry = cmp.Or(s.Telemetry, defaults.Telemetry)
	return s
}

func (l Limits) withDefaults() Limits {
	l.Series = cmp.Or(max(l.Series, 0), 10_000)
	l.SeriesOfSource = cmp.Or(max(l.SeriesOfSource, 0), max(l.Series/2, 64))
	l.SeriesTTL = cmp.Or(max(l.SeriesTTL, 0), 15*time.Minute)
	l.LabelValues = cmp.Or(max(l.LabelValues, 0), 64)
	l.Recent = cmp.Or(max(l.Recent, 0), 8192)
	return l
}
