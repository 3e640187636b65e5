package main

import (
	"context"
	"crypto/rand"
	"errors"

	"github.com/esper-lite/weatherlight/cmd/internal/process"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/settings"
	"github.com/esper-lite/weatherlight/signing"
	"github.com/esper-lite/weatherlight/weatherlight/assembly"
)

// lookAtBus joins the configured bus for who only looks: he needs no secret, and could sign nothing
// that anybody believes.
func lookAtBus(ctx context.Context, work func(*oona.Client) error) error {
	none := func(*settings.Settings) (*signing.Keyring, error) { return signing.NewKeyring(rand.Text()) }
	return onConfiguredBus(ctx, none, func(bus *oona.Client, _ *signing.Keyring) error { return work(bus) })
}

// withBus joins the configured bus for as long as work takes.
func withBus(ctx context.Context, work func(*oona.Client) error) error {
	return withKeyring(ctx, func(bus *oona.Client, _ *signing.Keyring) error { return work(bus) })
}

// withKeyring joins the configured bus, with the secret that signs commands.
func withKeyring(ctx context.Context, work func(*oona.Client, *signing.Keyring) error) error {
	return onConfiguredBus(ctx, keyringOf, work)
}

func onConfiguredBus(
	ctx context.Context, keys func(*settings.Settings) (*signing.Keyring, error), work func(*oona.Client, *signing.Keyring) error,
) error {
	resolved, err := settings.Load(settings.Options{SecretOptional: true})
	if err != nil {
		return err
	}
	if resolved.Redis.Embedded() {
		return process.Misconfigured("REDIS_URL", errors.New("embedded: lives in the foundation service; name its address here"))
	}
	keyring, err := keys(resolved)
	if err != nil {
		return err
	}
	bus, err := joinBus(ctx, resolved, keyring)
	if err != nil {
		return err
	}
	return errors.Join(work(bus, keyring), bus.Close())
}

// errSecret is of who would act on a bus: any secret but that of the bus is of no use there.
var errSecret = errors.New("is not set: set ESPER_LEYLINE_SECRET, or ESPER_LEYLINE_SECRET_FILE, to the secret of this bus, " +
	"which its services have")

func keyringOf(resolved *settings.Settings) (*signing.Keyring, error) {
	current, previous, err := resolved.Secrets()
	if err != nil {
		return nil, process.Misconfigured(settings.SecretFileEnv, err)
	}
	keyring, err := signing.NewKeyring(current, previous...)
	if errors.Is(err, signing.ErrNoSecret) {
		err = process.Misconfigured(settings.SecretEnv, errSecret)
	}
	return keyring, err
}

func joinBus(ctx context.Context, resolved *settings.Settings, keyring *signing.Keyring) (*oona.Client, error) {
	return oona.Connect(ctx, oona.Config{
		URL: resolved.Redis.URL.Reveal(), Group: name, Consumer: name, Keyring: keyring, Streams: assembly.Streams(resolved),
	})
}
