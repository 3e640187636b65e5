package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/esper-lite/weatherlight/cmd/internal/process"
	"github.com/esper-lite/weatherlight/settings"
	"github.com/esper-lite/weatherlight/urza"
	"github.com/esper-lite/weatherlight/weatherlight/assembly"
)

// opened is the configured kernel library.
type opened struct {
	library  *urza.Library
	settings *settings.Settings
}

// noLibraryError is of what only looks at a library, where there is none that can be looked at.
type noLibraryError struct{ why string }

func (e *noLibraryError) Error() string { return e.why }

// Exit is the code of something that is needed and not there.
func (*noLibraryError) Exit() int { return process.ExitDependency }

// inLibrary is withLibrary for what makes no library and changes no tables of one.
func inLibrary(ctx context.Context, work func(opened) error) error {
	return openLibrary(ctx, opened.there, work)
}

// there says why the library cannot be looked at as it is.
func (o opened) there(ctx context.Context) error {
	schema, err := urza.InspectSchema(ctx, o.settings.Urza.DatabaseURL.Reveal())
	switch {
	case err != nil || schema.Current():
		return err
	case !schema.Exists:
		return &noLibraryError{fmt.Sprintf("there is no kernel library at %s (URZA_DATABASE_URL): "+
			"esperctl forge makes one, as does the service", schema.Where)}
	default:
		return &noLibraryError{fmt.Sprintf("the kernel library has version %d and this esperctl looks at version %d: "+
			"start the service of this version once", schema.Version, schema.Wanted)}
	}
}

// withLibrary opens the library of the environment for one piece of work, and makes it when
// there is none.
func withLibrary(ctx context.Context, work func(opened) error) error {
	return openLibrary(ctx, func(opened, context.Context) error { return nil }, work)
}

func openLibrary(ctx context.Context, check func(opened, context.Context) error, work func(opened) error) error {
	resolved, err := settings.Load(settings.Options{SecretOptional: true})
	if err != nil {
		return err
	}
	if err := assembly.Check(resolved); err != nil {
		return err
	}
	o := opened{settings: resolved}
	err = o.ask(ctx, func(ctx context.Context) (err error) {
		if err := check(o, ctx); err != nil {
			return err
		}
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
