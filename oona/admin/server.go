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
}

// Server asks the bus for its version and its clock, within DialTimeout. A
// server that keeps its version to itself, as an access list may ask of it, has
// none here.
func (a *Admin) Server(ctx context.Context) (Server, error) {
	ctx, cancel := context.WithTimeout(ctx, a.conn.Timeout)
	defer cancel()
	ahead, uncertainty, err := a.conn.Skew(ctx)
	if err != nil {
		return Server{}, err
	}
	server := Server{Skew: ahead, Uncertainty: uncertainty}
	if info, err := a.conn.Do(ctx, a.conn.B().Info().Section("server").Build()).ToString(); err == nil {
		server.Product, server.Version = serverVersion(info)
	}
	return server, nil
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
