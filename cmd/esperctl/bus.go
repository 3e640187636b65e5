package main

import (
	"context"
	"errors"

	"github.com/esper-lite/weatherlight/cmd/internal/process"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/settings"
	"github.com/esper-lite/weatherlight/signing"
	"github.com/esper-lite/weatherlight/weatherlight/assembly"
)

// withBus joins the configured bus for as long as work takes.
func withBus(ctx context.Context, work func(*oona.Client) error) error {
	return withKeyring(ctx, func(bus *oona.Client, _ *signing.Keyring) error { return work(bus) })
}

// withKeyring joins the configured bus, with the secret that signs commands.
func withKeyring(ctx context.Context, work func(*oona.Client, *signing.Keyring) error) error {
	resolved, err := settings.Load(settings.Options{})
	if err != nil {
		return err
	}
	return joined(ctx, resolved, work)
}

// joined joins the bus of settings that were read already.
func joined(ctx context.Context, resolved *settings.Settings, work func(*oona.Client, *signing.Keyring) error) error {
	if resolved.Redis.Embedded() {
		return process.Misconfigured("REDIS_URL", errors.New("embedded: lives in the foundation service; name its address here"))
	}
	bus, keyring, err := joinBus(ctx, resolved)
	if err != nil {
		return err
	}
	return errors.Join(work(bus, keyring), bus.Close())
}

func joinBus(ctx context.Context, resolved *settings.Settings) (*oona.Client, *signing.Keyring, error) {
	current, previous, err := resolved.Secrets()
	if err != nil {
		return nil, nil, err
	}
	keyring, err := signing.NewKeyring(current, previous...)
	if err != nil {
		return nil, nil, err
	}
	bus, err := oona.Connect(ctx, oona.Config{
		URL: resolved.Redis.URL.Reveal(), Group: name, Consumer: name, Keyring: keyring, Streams: assembly.Streams(resolved),
	})
	return bus, keyring, err
}
