// Package look has the commands that read what the services know, over HTTP. None of them
// changes anything, and none joins the bus.
//
// Each is a function that makes one command; the nouns that they belong to are esperctl's.
package look

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/ask"
	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/terminal"
	"github.com/esper-lite/weatherlight/settings"
)

// question is one command that reads.
type question struct {
	use, short, long string
	args             cobra.PositionalArgs
	complete         cobra.CompletionFunc
	answer           func(ctx context.Context, args []string, to *answer) error
}

// answer is where a command prints to, and how.
type answer struct {
	terminal.Format

	out io.Writer
	now time.Time
}

func (q question) command() *cobra.Command {
	to := &answer{now: time.Now()}
	if q.args == nil {
		q.args = cobra.NoArgs
	}
	if q.complete == nil {
		q.complete = cobra.NoFileCompletions
	}
	command := &cobra.Command{
		Use: q.use, Short: q.short, Long: q.long, Args: q.args, ValidArgsFunction: q.complete,
		RunE: func(command *cobra.Command, args []string) error {
			to.out = command.OutOrStdout()
			return q.answer(command.Context(), args, to)
		},
	}
	to.Bind(command)
	return command
}

// loaded are the settings of a command that signs nothing.
func loaded() (*settings.Settings, error) {
	return settings.Load(settings.Options{SecretOptional: true})
}

func nissa() (*ask.Service, error) {
	resolved, err := loaded()
	if err != nil {
		return nil, err
	}
	return ask.Nissa(resolved)
}

func weatherlight() (*ask.Service, error) {
	resolved, err := loaded()
	if err != nil {
		return nil, err
	}
	return ask.Weatherlight(resolved)
}

// fromNissa asks Nissa one question. raw is the answer as it came, for --json.
func fromNissa(ctx context.Context, path string, query url.Values, into any) (raw json.RawMessage, err error) {
	service, err := nissa()
	if err != nil {
		return nil, err
	}
	if err := service.Get(ctx, path, query, &raw); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return nil, notUnderstood(err)
	}
	return raw, nil
}

func notUnderstood(err error) error {
	return fmt.Errorf("an answer is not understood; is the service of another version? %w", err)
}

// decoded reads a part of an answer.
func decoded[T any](raw json.RawMessage) (value T, err error) {
	if err := json.Unmarshal(raw, &value); err != nil {
		return value, notUnderstood(err)
	}
	return value, nil
}

// age is how long ago something was, as a person says it.
func (a *answer) age(at time.Time) string {
	if at.IsZero() {
		return "-"
	}
	return terminal.Span(a.now.Sub(at))
}

// Number is a figure of JSON that may be null, or a word for what is no number.
type Number struct {
	value float64
	known bool
	word  string
}

// UnmarshalJSON reads a figure, null or a word.
func (n *Number) UnmarshalJSON(text []byte) error {
	*n = Number{}
	if string(text) == "null" {
		return nil
	}
	if text[0] == '"' {
		return json.Unmarshal(text, &n.word)
	}
	n.known = true
	return json.Unmarshal(text, &n.value)
}

func (n Number) String() string {
	switch {
	case n.word != "":
		return n.word
	case !n.known:
		return "-"
	default:
		return fmt.Sprintf("%.4g", n.value)
	}
}

// Percent is a share of 1.
func (n Number) Percent() string {
	if !n.known {
		return "-"
	}
	return fmt.Sprintf("%.1f%%", 100*n.value)
}

// StageName is the stage of a seed as a person reads it.
func StageName(name string) string {
	return strings.ToLower(strings.TrimPrefix(strings.TrimPrefix(name, "SEED_STAGE_"), "SEED_GATE_"))
}

// Value is what the figure is; NaN when that is not known.
func (n Number) Value() float64 {
	if !n.known {
		return math.NaN()
	}
	return n.value
}
