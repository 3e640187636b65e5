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
	resolved, err := settings.Load(settings.Options{SecretOptional: true})
	if err != nil {
		return err
	}
	keyring, err := signing.NewKeyring(rand.Text())
	if err != nil {
		return err
	}
	return joinedWith(ctx, resolved, keyring, work)
}

// withBus joins the configured bus for as long as work takes.
func withBus(ctx context.Context, work func(*oona.Client) error) error {
	return withKeyring(ctx, func(bus *oona.Client, _ *signing.Keyring) error { return work(bus) })
}

// withKeyring joins the configured bus, with the secret that signs commands.
func withKeyring(ctx context.Context, work func(*oona.Client, *signing.Keyring) error) error {
	resolved, err := settings.Load(settings.Options{SecretOptional: true})
	if err != nil {
		return err
	}
	return joined(ctx, resolved, work)
}

// joined joins the bus of settings that were read already.
func joined(ctx context.Context, resolved *settings.Settings, work func(*oona.Client, *signing.Keyring) error) error {
	keyring, err := keyringOf(resolved)
	if err != nil {
		return err
	}
	return joinedWith(ctx, resolved, keyring, func(bus *oona.Client) error { return work(bus, keyring) })
}

func joinedWith(ctx context.Context, resolved *settings.Settings, keyring *signing.Keyring, work func(*oona.Client) error) error {
	if resolved.Redis.Embedded() {
		return process.Misconfigured("REDIS_URL", errors.New("embedded: lives in the foundation service; name its address here"))
	}
	bus, err := joinBus(ctx, resolved, keyring)
	if err != nil {
		return err
	}
	return errors.Join(work(bus), bus.Close())
}

// settingsToAct are the settings of a command that will sign.
func settingsToAct() (*settings.Settings, error) {
	resolved, err := settings.Load(settings.Options{SecretOptional: true})
	if err != nil {
		return nil, err
	}
	if _, err := keyringOf(resolved); err != nil {
		return nil, err
	}
	return resolved, nil
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
