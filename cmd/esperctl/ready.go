package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/ask"
	"github.com/esper-lite/weatherlight/settings"
)

// maxAnswer bounds how much of an answer is repeated.
const maxAnswer = 500

func newReady() *cobra.Command {
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
			base, err := readyBase(resolved, args)
			if err != nil {
				return err
			}
			client, err := ask.Client(resolved)
			if err != nil {
				return err
			}
			return askReady(cmd.Context(), client, base, within)
		},
	}
	command.Flags().DurationVar(&within, "timeout", 2*time.Second, "how long to wait for the answer")
	return command
}

// readyBase is the address of the service to ask.
func readyBase(resolved *settings.Settings, args []string) (string, error) {
	if len(args) > 0 {
		if !strings.Contains(args[0], "://") {
			return "http://" + args[0], nil
		}
		return args[0], nil
	}
	service, err := ask.Weatherlight(resolved)
	if err != nil {
		return "", err
	}
	return cmp.Or(resolved.Weatherlight.URL.Reveal(), service.Base()), nil
}

func askReady(ctx context.Context, client *http.Client, base string, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(base, "/")+"/readyz", http.NoBody)
	if err != nil {
		return fmt.Errorf("ask %s: %w", base, err)
	}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("%w: start the service, or set WEATHERLIGHT_URL to where it runs", err)
	}
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err = errors.Join(err, response.Body.Close()); err != nil {
		return fmt.Errorf("read the answer of %s: %w", base, err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s is not ready: %s", base, whyNot(answer))
	}
	return nil
}

// whyNot is the reason in an answer, or else all of it.
func whyNot(answer []byte) string {
	var said struct{ Reason, Status string }
	_ = json.Unmarshal(answer, &said) // who answers otherwise says no more than that
	return cmp.Or(said.Reason, said.Status, strings.TrimSpace(string(answer)))
}
