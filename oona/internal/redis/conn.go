// Package redis is the way to the server: a Conn makes connections that notice
// when their peer has gone, has Call for what must not outlast its caller's
// context, and knows the server's clock; a Line is the connection of one reader that blocks; a
// Backoff paces the attempts of one loop to end an outage. All rooms of oona
// reach Redis through it.
package redis

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/esper-lite/weatherlight/oona/internal/entry"
)

// closePatience is how long a close waits for a server that says nothing, before
// it ends the connections from our side.
const closePatience = 200 * time.Millisecond

// defaultMaxValue is far above any value that is stored here.
const defaultMaxValue = 1 << 20

// Config says which server, and how long it may take.
type Config struct {
	URL     string
	TLS     *tls.Config   // in place of what rediss:// means by itself
	Timeout time.Duration // of connecting, and of one call
	// MaxValue bounds what is read of one value, or of the fields of one entry, in bytes;
	// what is longer arrives cut. 0: 1 MiB.
	MaxValue int
	Logger   *slog.Logger
}

// Conn is one connection pool. It is safe for concurrent use.
type Conn struct {
	rueidis.Client
	Timeout time.Duration
	// Clustered: keys live on different nodes, so nothing spans two of them.
	Clustered bool

	dialer *dialer
	clock  *clock
	outage busOutage
	calls  calls
	closed atomic.Bool
}

// Dial connects and asks for a sign of life, each within the timeout; the end of
// ctx ends it at once. A failure is a *ConnectError and leaves nothing running.
func Dial(ctx context.Context, cfg Config) (*Conn, error) {
	option, err := clientOption(cfg)
	if err != nil {
		return nil, &ConnectError{Addr: maskedAddress(cfg.URL), Err: err}
	}
	network := "tcp"
	if option.DialCtxFn != nil {
		network = "unix" // the only addresses that come with a way to dial them
	}
	d := newDialer(network, cfg.Timeout, cmp.Or(cfg.MaxValue, defaultMaxValue))
	option.DialCtxFn = d.dial
	c, err := d.connect(ctx, cfg, option)
	if err != nil {
		d.close()
		return nil, &ConnectError{Addr: strings.Join(option.InitAddress, ","), Err: err}
	}
	return c, nil
}

// connect makes the first connection, for as long as ctx allows.
func (d *dialer) connect(ctx context.Context, cfg Config, option rueidis.ClientOption) (*Conn, error) {
	keep := context.AfterFunc(ctx, d.end)
	rdb, err := rueidis.NewClient(option)
	if err != nil {
		return nil, causeOf(ctx, err)
	}
	c := &Conn{Client: rdb, Timeout: cfg.Timeout, Clustered: rdb.Mode() == rueidis.ClientModeCluster,
		dialer: d, clock: newClock(), outage: busOutage{log: cfg.Logger}}
	if err := c.Ping(ctx); err != nil || !keep() {
		err = causeOf(ctx, err)
		c.Close()
		return nil, err
	}
	d.established()
	return c, nil
}

// Ping asks for a sign of life, within the timeout, and, in the same round trip,
// for the server's time, which an access list may keep from us.
func (c *Conn) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	_, err := Call(ctx, c, func(ctx context.Context) (struct{}, error) {
		begun := time.Now()
		replies := c.DoMulti(ctx, c.B().Ping().Build(), c.B().Time().Build())
		c.clock.due(begun)
		c.clock.read(replies[1], begun)
		return struct{}{}, replies[0].Error()
	})
	if err != nil {
		return fmt.Errorf("ping bus: %w", err)
	}
	return nil
}

// EnsureGroups creates a consumer group on each stream, and the stream with it,
// from the beginning of what the stream holds. Groups that exist stay as they are.
func (c *Conn) EnsureGroups(ctx context.Context, group string, streams ...string) error {
	for _, stream := range streams {
		err := c.Do(ctx, c.B().XgroupCreate().Key(stream).Group(group).Id("0").Mkstream().Build()).Error()
		if err != nil && !HasCode(err, "BUSYGROUP") {
			return fmt.Errorf("create group %s on %s: %w", group, stream, err)
		}
	}
	return nil
}

// Add is the command that stores a message on a stream, which it bounds to about
// so many entries.
func (c *Conn) Add(stream, bound, payload, signature string) rueidis.Completed {
	return c.B().Xadd().Key(stream).Maxlen().Almost().Threshold(bound).Id("*").
		FieldValue().FieldValue(entry.Payload, payload).FieldValue(entry.Signature, signature).Build()
}

// Closed reports whether Close was called.
func (c *Conn) Closed() bool { return c.closed.Load() }

// Close releases the connections, once. Whoever reads must have ended before.
func (c *Conn) Close() {
	if c.closed.Swap(true) {
		return
	}
	c.calls.refuse()
	cut := time.AfterFunc(closePatience, c.dialer.end)
	c.Client.Close()
	cut.Stop()
	c.dialer.close()
	c.calls.running.Wait()
}
