package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/signing"
)

func backlogRows() []row {
	return []row{
		{"backlog_publisher_mb", "MiB at peak", lower, nil},
		{"backlog_consumer_mb", "MiB at peak", lower, nil},
	}
}

// measureBacklog takes the memory of a process that publishes while nobody
// consumes, and of the consumer that finds it all when it starts again.
func measureBacklog(ctx context.Context, b *bench) error {
	few, many := 10_000, b.pick(1_000_000, 20_000)
	return b.interleave([]turn{
		{fewest, func(column string) error { return b.backlog(ctx, column, few) }},
		{ours, func(column string) error { return b.backlog(ctx, column, many) }},
	}, func() error { return nil })
}

func (b *bench) backlog(ctx context.Context, column string, n int) error {
	client, err := connect(b.redis.url)
	if err != nil {
		return err
	}
	defer client.Close()
	defer client.Do(context.WithoutCancel(ctx), client.B().Del().Key(busStream).Build())
	// The consumer was there, and stopped.
	for _, step := range []struct {
		role, row string
		messages  int
	}{
		{childPublisher, "", 1000},
		{childConsumer, "", 1000},
		{childPublisher, "backlog_publisher_mb", n},
		{childConsumer, "backlog_consumer_mb", n},
	} {
		peak, err := b.peakOf(ctx, step.role, step.messages)
		if err != nil {
			return fmt.Errorf("%s: %w", step.role, err)
		}
		b.table.sample(step.row, column, peak)
	}
	return nil
}

// peakOf runs a child to its end, which says how much memory it took.
func (b *bench) peakOf(ctx context.Context, role string, n int) (float64, error) {
	c, err := startSelf([]string{role, b.redis.url, strconv.Itoa(n)}, nil, b.folder)
	if err != nil {
		return 0, err
	}
	select {
	case <-c.done:
	case <-ctx.Done():
		return 0, errors.Join(ctx.Err(), c.quit())
	}
	if code := c.command.ProcessState.ExitCode(); code != 0 {
		return 0, fmt.Errorf("ended with %s:\n%s", c.command.ProcessState, c.output)
	}
	return strconv.ParseFloat(strings.TrimSpace(c.output.String()), 64)
}

// publishBacklog and consumeBacklog are what the children do: they print their
// peak.
func publishBacklog(ctx context.Context, args []string) error {
	return inBacklog(ctx, args, (*traffic).publishOurs)
}

func consumeBacklog(ctx context.Context, args []string) error {
	return inBacklog(ctx, args, (*traffic).consumeOurs)
}

func inBacklog(ctx context.Context, args []string, work func(*traffic, context.Context, int) error) error {
	if len(args) != 2 {
		return errors.New("want the address of a bus and a number of messages")
	}
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return fmt.Errorf("number of messages: %w", err)
	}
	client, err := connectOurs(ctx, args[0])
	if err != nil {
		return err
	}
	defer client.Close()
	if err := work(&traffic{client: client, packet: newPacket()}, ctx, n); err != nil {
		return err
	}
	peak, err := memoryOf(os.Getpid(), "VmHWM:")
	if err == nil {
		_, err = fmt.Println(peak)
	}
	return err
}

// connectOurs opens our client on streams that hold whatever is published.
func connectOurs(ctx context.Context, url string) (*oona.Client, error) {
	keyring, err := signing.NewKeyring(secret)
	if err != nil {
		return nil, err
	}
	client, err := oona.Connect(ctx, oona.Config{
		URL: url, Group: "bench", Keyring: keyring, MaxStreamLength: backlogBound,
	})
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return client, nil
}
