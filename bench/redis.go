package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/redis/rueidis"

	"github.com/esper-lite/weatherlight/internal/freeport"
)

// startTimeout bounds the wait for anything that is started here.
const startTimeout = 10 * time.Second

// redisServer is a redis-server of our own: loopback, no persistence.
type redisServer struct {
	*child
	addr, url string
}

func startRedis(ctx context.Context, folder string) (*redisServer, error) {
	addr, let, err := freeport.Hold()
	if err != nil {
		return nil, err
	}
	defer let() // it listens by then
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("free port: %w", err)
	}
	folder = filepath.Join(folder, "redis")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, fmt.Errorf("make folder of redis-server: %w", err)
	}
	process, err := startChild("redis-server", []string{"--bind", host, "--port", port, "--dir", folder,
		"--save", "", "--appendonly", "no", "--daemonize", "no"}, nil, folder)
	if err != nil {
		return nil, fmt.Errorf("%w (apt-get install redis-server)", err)
	}
	server := &redisServer{child: process, addr: addr, url: "redis://" + addr + "/0"}
	if err := poll(ctx, server.answers); err != nil {
		return nil, errors.Join(fmt.Errorf("redis-server on %s does not answer: %w", addr, err), server.quit())
	}
	return server, nil
}

func (s *redisServer) answers(ctx context.Context) error {
	client, err := connect(s.url)
	if err != nil {
		return err
	}
	defer client.Close()
	return client.Do(ctx, client.B().Ping().Build()).Error()
}

// connect opens the client that every peer uses.
func connect(url string) (rueidis.Client, error) {
	option, err := rueidis.ParseURL(url)
	if err != nil {
		return nil, fmt.Errorf("bus address: %w", err)
	}
	option.DisableCache, option.ForceSingleClient, option.DisableRetry = true, true, true
	client, err := rueidis.NewClient(option)
	if err != nil {
		return nil, fmt.Errorf("connect to bus: %w", err)
	}
	return client, nil
}

// poll tries every millisecond until try succeeds or startTimeout is over.
func poll(ctx context.Context, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

// firstError is the first failure among pipelined replies.
func firstError(replies []rueidis.RedisResult) error {
	for _, reply := range replies {
		if err := reply.Error(); err != nil {
			return err
		}
	}
	return nil
}
