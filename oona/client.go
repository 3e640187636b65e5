package oona

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
)

// blockingConnections bounds the connections of blocked reads: one for each
// subscription.
const blockingConnections = 64

// closePatience is how long a close waits for a server that says nothing, before
// it ends the connections from our side.
const closePatience = 200 * time.Millisecond

// Client is one connection pool to the bus. It is safe for concurrent use.
type Client struct {
	cfg      Config
	rhythm   Rhythm
	rdb      rueidis.Client
	dialer   *dialer
	log      *slog.Logger
	meters   *meters
	drops    *dropLedger
	guard    *guard
	load     *loadSampler
	seen     *answered
	departed departures
	closed   atomic.Bool
	asking   questions
	clock    *busClock
	// clustered: keys live on different nodes, so nothing spans two of them.
	clustered bool
}

// Connect dials the bus and asks it for a sign of life, each within DialTimeout;
// the end of ctx ends it at once. A failure is a *ConnectError and leaves
// nothing running.
func Connect(ctx context.Context, cfg Config) (*Client, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	option, err := clientOption(cfg)
	if err != nil {
		return nil, &ConnectError{Addr: maskedAddress(cfg.URL), Err: err}
	}
	network := "tcp"
	if option.DialCtxFn != nil {
		network = "unix" // the only addresses that come with a way to dial them
	}
	d := newDialer(network, cfg.DialTimeout)
	option.DialCtxFn = d.dial
	c, err := d.connect(ctx, cfg, option)
	if err != nil {
		d.close()
		return nil, &ConnectError{Addr: strings.Join(option.InitAddress, ","), Err: err}
	}
	return c, nil
}

// connect makes the first connection, for as long as ctx allows.
func (d *dialer) connect(ctx context.Context, cfg Config, option rueidis.ClientOption) (*Client, error) {
	keep := context.AfterFunc(ctx, d.end)
	rdb, err := rueidis.NewClient(option)
	if err != nil {
		return nil, causeOf(ctx, err)
	}
	c := newClient(cfg, rdb, d)
	if err := c.greet(ctx); err != nil || !keep() {
		return nil, errors.Join(causeOf(ctx, err), c.Close())
	}
	d.established()
	return c, nil
}

// causeOf puts the caller's wish to stop before what came of it.
func causeOf(ctx context.Context, err error) error {
	if cause := ctx.Err(); cause != nil && !errors.Is(err, cause) {
		return errors.Join(cause, err)
	}
	return err
}

func newClient(cfg Config, rdb rueidis.Client, d *dialer) *Client {
	c := &Client{cfg: cfg, rdb: rdb, dialer: d, log: cfg.Logger, meters: newMeters(), drops: newDropLedger()}
	c.rhythm = RhythmOf(cfg.Consumer)
	c.guard = newGuard(cfg, c.log)
	c.load = newLoadSampler(rdb, cfg, c.guard)
	c.seen = newAnswered(cfg.ReplayCapacity)
	c.clock = newBusClock()
	c.clustered = rdb.Mode() == rueidis.ClientModeCluster
	return c
}

// maskedAddress is the host part of an address that may be too broken to parse.
func maskedAddress(raw string) string {
	if at := strings.LastIndexByte(raw, '@'); at >= 0 {
		raw = raw[at+1:]
	}
	raw = strings.TrimPrefix(raw[strings.LastIndex(raw, "://")+1:], "//")
	if end := strings.IndexAny(raw, "/?"); end >= 0 {
		raw = raw[:end]
	}
	if raw == "" {
		return "(no address)"
	}
	return strings.TrimPrefix(raw, ":")
}

// Ping asks the bus for a sign of life, within DialTimeout.
func (c *Client) Ping(ctx context.Context) error {
	return c.ping(ctx, func(ctx context.Context) error {
		return c.rdb.Do(ctx, c.rdb.B().Ping().Build()).Error()
	})
}

// greet asks for a sign of life and, in the same round trip, for the bus's time,
// which an access list may keep from us.
func (c *Client) greet(ctx context.Context) error {
	return c.ping(ctx, func(ctx context.Context) error {
		begun := time.Now()
		replies := c.rdb.DoMulti(ctx, c.rdb.B().Ping().Build(), c.rdb.B().Time().Build())
		c.clock.due(begun)
		c.clock.read(replies[1], begun)
		return replies[0].Error()
	})
}

func (c *Client) ping(ctx context.Context, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.DialTimeout)
	defer cancel()
	_, err := bounded(ctx, &c.asking, func(ctx context.Context) (struct{}, error) { return struct{}{}, ask(ctx) })
	if err != nil {
		return fmt.Errorf("ping bus: %w", err)
	}
	return nil
}

// EnsureGroups creates a consumer group on each stream, and the stream with it.
// A new group starts at the beginning of what the stream holds, so nothing that
// was published before the first start is missed. Groups that exist stay as
// they are.
func (c *Client) EnsureGroups(ctx context.Context, group string, streams ...string) error {
	for _, stream := range streams {
		command := c.rdb.B().XgroupCreate().Key(stream).Group(group).Id("0").Mkstream().Build()
		err := c.rdb.Do(ctx, command).Error()
		if err != nil && !isRedisError(err, "BUSYGROUP") {
			return fmt.Errorf("create group %s on %s: %w", group, stream, err)
		}
	}
	return nil
}

func isRedisError(err error, code string) bool {
	var reply *rueidis.RedisError
	return errors.As(err, &reply) && strings.HasPrefix(reply.Error(), code)
}

// Close releases the connections. Consume calls must have returned before. It
// can be called more than once.
func (c *Client) Close() error {
	if !c.closed.Swap(true) {
		c.asking.refuse()
		cut := time.AfterFunc(closePatience, c.dialer.end)
		c.rdb.Close()
		cut.Stop()
		c.dialer.close()
		c.asking.running.Wait()
	}
	return nil
}
