package main

import (
	"context"
	"errors"

	"github.com/esper-lite/weatherlight/settings"
	"github.com/esper-lite/weatherlight/urza"
	"github.com/esper-lite/weatherlight/weatherlight/assembly"
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
	if err := assembly.Check(resolved); err != nil {
		return err
	}
	library, err := assembly.OpenLibrary(ctx, assembly.Library(resolved))
	if err != nil {
		return err
	}
	return errors.Join(work(opened{library, resolved}), library.Close())
}
