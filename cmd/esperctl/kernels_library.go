package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/esper-lite/weatherlight/settings"
	"github.com/esper-lite/weatherlight/urza"
)

// opened is the configured kernel library.
type opened struct {
	library  *urza.Library
	settings *settings.Settings
}

// withLibrary opens the library of the environment for one piece of work.
func withLibrary(ctx context.Context, work func(opened) error) error {
	resolved, err := settings.Load(settings.Options{SecretOptional: true})
	if err != nil {
		return err
	}
	library, err := openLibrary(ctx, resolved)
	if err != nil {
		return err
	}
	return errors.Join(work(opened{library, resolved}), library.Close())
}

func openLibrary(ctx context.Context, resolved *settings.Settings) (*urza.Library, error) {
	library, err := urza.Open(ctx, libraryConfig(resolved))
	if err != nil {
		return nil, fmt.Errorf("open kernel library: %w", err)
	}
	return library, nil
}

// libraryConfig is the whole configuration of the library, as the service has it.
func libraryConfig(resolved *settings.Settings) urza.Config {
	set := resolved.Urza
	return urza.Config{
		DatabaseURL:        set.DatabaseURL.Reveal(),
		ArtifactDir:        set.ArtifactDir,
		ArtifactURL:        set.ArtifactURL.Reveal(),
		S3AccessKey:        set.S3AccessKey.Reveal(),
		S3SecretKey:        set.S3SecretKey.Reveal(),
		SigningKeyFile:     set.SigningKeyFile,
		SigningKeyPassword: set.SigningKeyPassword.Reveal(),
		TrustedKeys:        set.TrustedKeys,
		RequireApproval:    set.RequireApproval,
		Retention:          set.Retention(),
	}
}
