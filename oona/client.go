package oona

import (
	"cmp"
	"context"
	"log/slog"
	"strconv"
	"time"

	"github.com/esper-lite/weatherlight/internal/cadence"
	"github.com/esper-lite/weatherlight/oona/admin"
	"github.com/esper-lite/weatherlight/oona/deadletter"
	"github.com/esper-lite/weatherlight/oona/internal/admission"
	"github.com/esper-lite/weatherlight/oona/internal/delivery"
	"github.com/esper-lite/weatherlight/oona/internal/envelope"
	"github.com/esper-lite/weatherlight/oona/internal/redis"
	"github.com/esper-lite/weatherlight/oona/internal/stats"
	"github.com/esper-lite/weatherlight/oona/internal/verify"
	"github.com/esper-lite/weatherlight/oona/lease"
)

// Client is one connection pool to the bus. It is safe for concurrent use.
type Client struct {
	cfg       Config
	conn      *redis.Conn
	sealer    envelope.Sealer
	verifier  verify.Verifier
	windows   verify.Windows
	meters    *stats.Counters
	admission *admission.Admission
	deliverer *delivery.Deliverer
	log       *slog.Logger
	bound     string // of every stream, in entries
}

// besidePayload is room for what lies beside a payload in its entry: the signature, and in
// a dead letter where it came from and why it was refused.
const besidePayload = 16 << 10

// Connect dials the bus and asks it for a sign of life, each within DialTimeout;
// the end of ctx ends it at once. A failure is a *ConnectError and leaves
// nothing running.
func Connect(ctx context.Context, cfg Config) (*Client, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	conn, err := redis.Dial(ctx, redis.Config{URL: cfg.URL, TLS: cfg.TLS, Timeout: cfg.DialTimeout, Logger: cfg.Logger,
		MaxValue: max(cfg.MaxPayload, cfg.MaxRecord) + besidePayload})
	if err != nil {
		return nil, err
	}
	return newClient(cfg, conn), nil
}

func newClient(cfg Config, conn *redis.Conn) *Client {
	c := &Client{
		cfg: cfg, conn: conn, log: cfg.Logger, meters: stats.NewCounters(), bound: strconv.FormatInt(cfg.MaxStreamLength, 10),
		sealer:   envelope.Sealer{Keyring: cfg.Keyring, MaxPayload: cfg.MaxPayload},
		verifier: verify.Verifier{Keyring: cfg.Keyring, MaxPayload: cfg.MaxPayload},
		windows:  verify.Windows{Control: cfg.ControlWindow, Freshness: cfg.FreshnessWindow, Skew: cfg.ClockSkew},
	}
	c.admission = admission.New(admission.Config{Conn: conn, MaxLength: cfg.MaxStreamLength, Strain: cfg.EmergencyThreshold,
		EmergencyPerMinute: cfg.EmergencyPerMinute, Logger: cfg.Logger})
	c.deliverer = delivery.New(delivery.Config{
		Conn: conn, Counters: c.meters, Logger: cfg.Logger, Consumer: cfg.Consumer, DeadLetter: cfg.DeadLetter, MaxLength: c.bound,
		Phase: cadence.PhaseOf(cfg.Consumer), Sealer: c.sealer, Resign: cfg.resignAfter(), Recent: verify.NewRecent(cfg.ReplayCapacity),
		RetryAttempts: cfg.RetryAttempts, RetryBackoff: cfg.RetryBackoff, ClaimIdle: cfg.ClaimIdle, Lost: c.admission.Lost,
	})
	return c
}

// Ping asks the bus for a sign of life, within DialTimeout.
func (c *Client) Ping(ctx context.Context) error { return c.conn.Ping(ctx) }

// Now is the time by the clock of the bus, as far as it is known: within half a
// round trip. It never waits: every ten seconds a call sends for the bus's time,
// and each Ping does, which the next ones go by, and while the bus does not tell it, the last one
// stands. Connect asks first; a bus that never told has the time of this machine.
// It follows the bus's clock when that is set, also backwards.
func (c *Client) Now() time.Time { return c.conn.Now() }

// ClockOffset is how far the clock of the bus is ahead of this machine's, and how
// exactly that is known, either way; false before the bus has told its time.
func (c *Client) ClockOffset() (ahead, uncertainty time.Duration, known bool) { return c.conn.Offset() }

// timesOf is what messages are dated against.
func timesOf(conn *redis.Conn) verify.Times {
	now := conn.Now()
	ahead, _, _ := conn.Offset()
	return verify.Times{Bus: now, Ahead: ahead, Set: conn.Set()}
}

// EnsureGroups creates a consumer group on each stream, and the stream with it.
// A new group starts at the beginning of what the stream holds, so nothing that
// was published before the first start is missed. Groups that exist stay as
// they are.
func (c *Client) EnsureGroups(ctx context.Context, group string, streams ...string) error {
	return c.conn.EnsureGroups(ctx, group, streams...)
}

// Close releases the connections. Consume calls must have returned before. It
// can be called more than once, and its error is always nil.
func (c *Client) Close() error {
	c.conn.Close()
	return nil
}

// NewLease prepares a place among those who share a group, by default this client's
// own under its consumer's name. Nothing is claimed before the first Renew.
func (c *Client) NewLease(cfg lease.Config) *lease.Lease {
	cfg.Group = cmp.Or(cfg.Group, c.cfg.Group)
	cfg.Name = cmp.Or(cfg.Name, c.cfg.Consumer)
	return lease.New(c.conn, cfg)
}

// DeadLetters are what was refused or given up on this bus.
func (c *Client) DeadLetters() *deadletter.Queue {
	return deadletter.New(deadletter.Config{Conn: c.conn, Stream: c.cfg.DeadLetter, MaxLength: c.bound, Sealer: c.sealer,
		Carries: c.cfg.Streams.carries, Home: c.cfg.Streams.stream})
}

// Admin is for looking after this bus.
func (c *Client) Admin() *admin.Admin {
	return admin.New(c.conn, c.cfg.Consumer, c.cfg.Streams.Names())
}
