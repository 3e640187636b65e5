package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/ask"
	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/terminal"
	"github.com/esper-lite/weatherlight/settings"
)

func newReady() *cobra.Command {
	var format terminal.Format
	var within time.Duration
	command := &cobra.Command{
		Use:   "ready [URL]",
		Short: "Ask a service whether it may take work: exit 0 when it says so, 1 when not",
		Long: "Ask a service whether it may take work, at URL/readyz. Without a URL it asks the foundation service at\n" +
			"WEATHERLIGHT_URL, or else at WEATHERLIGHT_HTTP_ADDR. It needs no token. It is the health check of\n" +
			"the container image, which holds no other client.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			resolved, err := settings.Load(settings.Options{SecretOptional: true})
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), within)
			defer cancel()
			said, err := ask.Ready(ctx, resolved, strings.Join(args, ""))
			if said == nil {
				return err
			}
			printed := format.Print(cmd.OutOrStdout(), said, func(io.Writer) {}) // the exit code is the answer
			return errors.Join(err, printed)
		},
	}
	format.Bind(command)
	command.Flags().DurationVar(&within, "timeout", 2*time.Second, "how long to wait for the answer")
	return command
}
