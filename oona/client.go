package oona

import (
	"context"
	"log/slog"
	"time"

	"github.com/esper-lite/weatherlight/oona/internal/redis"
)

// Client is one connection pool to the bus. It is safe for concurrent use.
type Client struct {
	cfg      Config
	rhythm   Rhythm
	conn     *redis.Conn
	log      *slog.Logger
	meters   *meters
	drops    *dropLedger
	guard    *guard
	load     *loadSampler
	seen     *answered
	departed departures
}

// Connect dials the bus and asks it for a sign of life, each within DialTimeout;
// the end of ctx ends it at once. A failure is a *ConnectError and leaves
// nothing running.
func Connect(ctx context.Context, cfg Config) (*Client, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	conn, err := redis.Dial(ctx, redis.Config{URL: cfg.URL, TLS: cfg.TLS, Timeout: cfg.DialTimeout, Logger: cfg.Logger})
	if err != nil {
		return nil, err
	}
	c := &Client{cfg: cfg, conn: conn, log: cfg.Logger, meters: newMeters(), drops: newDropLedger()}
	c.rhythm = RhythmOf(cfg.Consumer)
	c.guard = newGuard(cfg, c.log)
	c.load = newLoadSampler(conn, cfg, c.guard)
	c.seen = newAnswered(cfg.ReplayCapacity)
	return c, nil
}

// Ping asks the bus for a sign of life, within DialTimeout.
func (c *Client) Ping(ctx context.Context) error { return c.conn.Ping(ctx) }

// Now is the time by the clock of the bus, as far as it is known: within half a
// round trip. It never waits: every ten seconds a call sends for the bus's time,
// which the next ones go by, and while the bus does not tell it, the last one
// stands. Connect asks first; a bus that never told has the time of this machine.
// It follows the bus's clock when that is set, also backwards.
func (c *Client) Now() time.Time { return c.conn.Now() }

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
