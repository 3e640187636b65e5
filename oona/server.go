package oona

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Server is what the bus says of itself.
type Server struct {
	Product string // redis or valkey; empty when the server does not say
	Version string // of the Redis protocol that it speaks; empty when the server does not say
	// Skew is how far its clock is ahead of ours, known to Uncertainty either way.
	Skew, Uncertainty time.Duration
}

// Server asks the bus for its version and its clock, within DialTimeout. A
// server that keeps its version to itself, as an access list may ask of it, has
// none here.
func (c *Client) Server(ctx context.Context) (Server, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.DialTimeout)
	defer cancel()
	begun := time.Now()
	reply, err := c.rdb.Do(ctx, c.rdb.B().Time().Build()).AsStrSlice()
	took := time.Since(begun)
	if err != nil {
		return Server{}, fmt.Errorf("ask the bus for its time: %w", err)
	}
	at, err := serverTime(reply)
	if err != nil {
		return Server{}, fmt.Errorf("ask the bus for its time: %w", err)
	}
	server := Server{Skew: at.Sub(begun.Add(took / 2)), Uncertainty: took / 2}
	if info, err := c.rdb.Do(ctx, c.rdb.B().Info().Section("server").Build()).ToString(); err == nil {
		server.Product, server.Version = serverVersion(info)
	}
	return server, nil
}

// serverTime reads the answer to TIME: seconds and microseconds.
func serverTime(reply []string) (time.Time, error) {
	if len(reply) != 2 {
		return time.Time{}, fmt.Errorf("%d words, want 2", len(reply))
	}
	seconds, err := strconv.ParseInt(reply[0], 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("seconds: %w", err)
	}
	micros, err := strconv.ParseInt(reply[1], 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("microseconds: %w", err)
	}
	return time.Unix(seconds, micros*int64(time.Microsecond)), nil
}

// serverVersion reads the answer to INFO. Valkey gives the version of Redis that
// it is compatible with beside its own.
func serverVersion(info string) (product, version string) {
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch name {
		case "redis_version":
			version = value
		case "valkey_version":
			product = "valkey"
		}
	}
	if product == "" && version != "" {
		product = "redis"
	}
	return product, version
}
