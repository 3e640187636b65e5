// Package embedded is a bus in the process: a Redis on loopback, for one machine, trials and
// tests. It keeps nothing when the process ends. oona.Connect joins it by its URL, as do other
// processes of the machine.
package embedded

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
)

// Config says where the broker listens.
type Config struct {
	Port int // on 127.0.0.1; 0 picks a free one
	// Tick is the step of the clock that expires keys. A step looks at every
	// key there is, so it must not be short. [1 s]
	Tick time.Duration
}

// Broker is a running embedded bus.
type Broker struct {
	server *miniredis.Miniredis
	addr   string // kept apart: a closed server has none
	tick   time.Duration
	close  sync.Once
}

// Start listens and serves. Keys only expire while Run moves the clock.
func Start(cfg Config) (*Broker, error) {
	cfg.Tick = cmp.Or(max(cfg.Tick, 0), time.Second)
	server := miniredis.NewMiniRedis()
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(cfg.Port))
	if err := server.StartAddr(addr); err != nil {
		return nil, fmt.Errorf("start embedded bus on %s: %w", addr, err)
	}
	return &Broker{server: server, addr: server.Addr(), tick: cfg.Tick}, nil
}

// Addr is the host and port to connect to, also after Close.
func (b *Broker) Addr() string { return b.addr }

// Port is the port it listens on.
func (b *Broker) Port() int { return b.server.Server().Addr().Port }

// URL is the address in the form every Esper process takes.
func (b *Broker) URL() string { return "redis://" + b.addr + "/0" }

// Run moves the clock of the broker with the real one until ctx is done: its
// keys do not expire by themselves.
func (b *Broker) Run(ctx context.Context) error {
	// On the full tick, like the loops of the service around it: they wake up together.
	timer := time.NewTimer(time.Until(time.Now().Truncate(b.tick).Add(b.tick)))
	defer timer.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
			now := time.Now()
			b.server.FastForward(now.Sub(last))
			last = now
			timer.Reset(time.Until(now.Truncate(b.tick).Add(b.tick)))
		}
	}
}

// Close stops serving and forgets everything. It can be called more than once.
func (b *Broker) Close() { b.close.Do(b.server.Close) }

// Do runs one command in the caller's goroutine, without a connection, and returns the reply in the form of the wire.
// The broker's clock shows the given time from then on. It is for simulated time, which a socket would stop.
func (b *Broker) Do(at time.Time, words ...string) string {
	var reply bytes.Buffer
	peer := server.NewPeer(bufio.NewWriter(&reply))
	b.server.SetTime(at)
	b.server.Server().Dispatch(peer, words)
	peer.Flush()
	return reply.String()
}
