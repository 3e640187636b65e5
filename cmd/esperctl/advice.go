package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/terminal"
	"github.com/esper-lite/weatherlight/karn"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/oona/deadletter"
	"github.com/esper-lite/weatherlight/settings"
	"github.com/esper-lite/weatherlight/urza"
)

// advised says what to do next about an error of a part, which cannot know how it was asked.
func advised(asked *cobra.Command, err error) error {
	if _, is := errors.AsType[*oona.ConnectError](err); is {
		return fmt.Errorf("%w: start Redis, or set REDIS_URL to where it runs", err)
	}
	for _, known := range []struct {
		err error
		say string
	}{
		{deadletter.ErrNotFound, "esperctl deadletters list"},
		{urza.ErrNotFound, "esperctl kernels list"},
		{karn.ErrUnknownBlueprint, "esperctl blueprints list"}, {karn.ErrNoCandidate, "esperctl blueprints list"},
	} {
		if errors.Is(err, known.err) {
			return fmt.Errorf("%w: %s shows what there is", err, known.say)
		}
	}
	ofFlag := func(f settings.Fault) bool { return strings.HasPrefix(f.Env, "--") }
	if faults, is := errors.AsType[*settings.Faults](err); is && slices.ContainsFunc(faults.List, ofFlag) {
		return terminal.Misused(asked, err)
	}
	return err
}
