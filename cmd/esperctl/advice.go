package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/dev"
	"github.com/esper-lite/weatherlight/cmd/internal/process"
	"github.com/esper-lite/weatherlight/karn"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/oona/deadletter"
	"github.com/esper-lite/weatherlight/settings"
	"github.com/esper-lite/weatherlight/urza"
)

// advised says what to do next about an error of a part, which cannot know how it was asked.
func advised(err error) error {
	if _, is := errors.AsType[*oona.ConnectError](err); is {
		return fmt.Errorf("%w: start Redis, or set REDIS_URL to where it runs", err)
	}
	for _, known := range []struct {
		err error
		say string
	}{
		{deadletter.ErrNotFound, "esperctl deadletters list"},
		{urza.ErrNotFound, "esperctl kernels list"},
		{karn.ErrUnknownBlueprint, "esperctl blueprints list"},
	} {
		if errors.Is(err, known.err) {
			return fmt.Errorf("%w: %s shows what there is", err, known.say)
		}
	}
	return err
}

// called is the name of the command that was called: a service that goes over to this one has its own.
func called() string {
	if filepath.Base(os.Args[0]) == dev.Service {
		return dev.Service
	}
	return name
}

// warnMisspelt tells of settings that have no effect. What is wrong with the others is for the
// command to say, if it needs them.
func warnMisspelt(to io.Writer) {
	resolved, err := settings.Load(settings.Options{SecretOptional: true})
	if err != nil {
		return
	}
	for _, m := range settings.Misspellings(resolved) {
		line := "esperctl: there is no setting " + m.Env
		if m.Nearest != "" {
			line += ": is it " + m.Nearest + " that you mean?"
		}
		_, _ = fmt.Fprintln(to, process.Printable(line)) // nothing depends on its being read
	}
}
