package main

import (
	"context"
	"errors"
	"fmt"

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
	o := opened{settings: resolved}
	err = o.ask(ctx, func(ctx context.Context) (err error) {
		o.library, err = assembly.OpenLibrary(ctx, assembly.Library(resolved))
		return err
	})
	if err != nil {
		return err
	}
	return errors.Join(work(o), o.library.Close())
}

// ask bounds what only asks the catalogue by what a boot may take: somebody else may have
// locked its tables.
func (o opened) ask(ctx context.Context, question func(context.Context) error) error {
	limit := o.settings.Weatherlight.BootTimeout
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := question(bounded)
	if err != nil && bounded.Err() != nil && ctx.Err() == nil {
		return fmt.Errorf("the kernel library did not answer within %v (WEATHERLIGHT_BOOT_TIMEOUT): %w", limit, err)
	}
	return err
}
