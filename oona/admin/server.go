package admin

import (
	"context"
	"strings"
	"time"
)

// Server is what the bus says of itself.
type Server struct {
	Product string // redis or valkey; empty when the server does not say
	Version string // of the Redis protocol that it speaks; empty when the server does not say
	// Skew is how far its clock is ahead of ours, known to Uncertainty either way.
	Skew, Uncertainty time.Duration
	// Evicts is the policy by which it gives up keys when its memory is full; empty when it
	// gives up none, has no bound or does not say.
	Evicts string
	// Volatile says that it writes no append-only file; false when it does not say.
	Volatile bool
}

// Server asks the bus for its version, its clock and what it keeps, within DialTimeout. A
// server that keeps that to itself, as an access list may ask of it, has none here. Of a
// cluster one node answers.
func (a *Admin) Server(ctx context.Context) (Server, error) {
	ctx, cancel := context.WithTimeout(ctx, a.conn.Timeout)
	defer cancel()
	ahead, uncertainty, err := a.conn.Skew(ctx)
	if err != nil {
		return Server{}, err
	}
	var server Server
	if info, err := a.conn.Do(ctx, a.conn.B().Info().Build()).ToString(); err == nil {
		server = readInfo(info)
	}
	server.Skew, server.Uncertainty = ahead, uncertainty
	return server, nil
}

// readInfo reads the answer to INFO. Valkey gives the version of Redis that it is
// compatible with beside its own.
func readInfo(text string) Server {
	info := make(map[string]string)
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		info[name] = value
	}
	server := Server{Version: info["redis_version"], Volatile: info["aof_enabled"] == "0"}
	if bound := info["maxmemory"]; bound != "" && bound != "0" && info["maxmemory_policy"] != "noeviction" {
		server.Evicts = info["maxmemory_policy"]
	}
	if server.Version != "" {
		server.Product = "redis"
	}
	if _, is := info["valkey_version"]; is {
		server.Product = "valkey"
	}
	return server
}
