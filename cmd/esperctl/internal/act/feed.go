package act

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/ask"
	"github.com/esper-lite/weatherlight/cmd/internal/process"
	"github.com/esper-lite/weatherlight/leyline"
)

// lookPause is between two looks at the feed.
const lookPause = 100 * time.Millisecond

// carriedOut are the events by which Kasmina says that it has taken a command.
var carriedOut = []string{"seed_operation", "seed_paused", "seed_resumed", "emergency_cleanup", "emergency_lifted"}

// feed is Nissa's, from a place on. It is nil when Nissa does not answer.
type feed struct {
	service *ask.Service
	head    int64
	idle    bool // no run is known that the command could concern
}

// openFeed notes where the feed stands, before the command is sent, and completes the order with
// what Nissa knows of the seed. A run or seed that Nissa has never heard of is an error: a cull of
// such a seed would wait for one of that name.
func openFeed(ctx context.Context, o *order) (*feed, error) {
	service, err := nissa()
	if err != nil {
		return nil, err
	}
	var page struct {
		Head int64             `json:"head"`
		Runs []json.RawMessage `json:"runs"`
	}
	err = service.Get(ctx, "/api/runs", url.Values{"limit": {"1"}}, &page)
	if _, is := errors.AsType[*ask.UnreachableError](err); is && o.kind != leyline.CommandType_COMMAND_SEED {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if o.run == "" {
		return &feed{service, page.Head, len(page.Runs) == 0}, nil
	}
	var known struct{ Seed struct{ Blueprint string } }
	path := "/api/runs/" + url.PathEscape(o.run)
	if o.seed != "" {
		path += "/seeds/" + url.PathEscape(o.seed)
	}
	err = service.Get(ctx, path, nil, &known)
	if refused, is := errors.AsType[*ask.RefusedError](err); is && refused.Status == http.StatusNotFound {
		return nil, fmt.Errorf("nobody has told of %s in run %s (esperctl seeds list): %w", named(o.seed), o.run, err)
	}
	o.blueprint = known.Seed.Blueprint
	return &feed{service: service, head: page.Head}, err
}

func named(seed string) string {
	if seed == "" {
		return "anything"
	}
	return "a seed " + seed
}

// refusedError is what Kasmina says of a command that it did not take.
type refusedError struct{ reason, detail string }

func (e *refusedError) Error() string {
	text := "refused: " + e.reason
	if e.detail != "" {
		text += " (" + e.detail + ")"
	}
	return text + "; docs/operations/metrics.md says what that means"
}

// unansweredError is of a command that nobody has taken up in time.
type unansweredError struct {
	id   string
	wait time.Duration
}

func (e *unansweredError) Error() string {
	return fmt.Sprintf("sent as %s, and not answered within %s: is esper-weatherlight-service well (esperctl status)? "+
		"It may still be carried out within a minute, or for as long as five reports of its run take", e.id, e.wait)
}

// Exit is the code of something that is needed and not there.
func (*unansweredError) Exit() int { return process.ExitDependency }

// await looks for what came of a command.
func (f *feed) await(ctx context.Context, id string, wait time.Duration) (said string, err error) {
	switch {
	case wait <= 0:
		return "sent as " + id, nil
	case f == nil:
		return "sent as " + id + "; what came of it is not known, for Nissa does not answer (NISSA_URL)", nil
	case f.idle:
		return "sent as " + id + "; nobody answers, for Nissa knows of no run (esperctl runs list)", nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, wait, &unansweredError{id, wait})
	defer cancel()
	look := time.NewTicker(lookPause)
	defer look.Stop()
	for {
		answer, err := f.look(ctx, id)
		if answer != "" || err != nil && ctx.Err() == nil {
			return answer, err
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return "", process.Stopped(ctx, ctx.Err())
		}
	}
}

// look reads what is new.
func (f *feed) look(ctx context.Context, id string) (answer string, err error) {
	var page struct {
		Events []struct {
			Seq     int64
			Kind    string
			Name    string
			Run     string
			Details map[string]string
		}
	}
	behind := url.Values{"after": {strconv.FormatInt(f.head, 10)}, "limit": {"1000"}}
	if err := f.service.Get(ctx, "/api/events", behind, &page); err != nil {
		return "", err
	}
	for _, e := range page.Events {
		f.head = max(f.head, e.Seq)
		switch {
		case e.Kind != "event" || e.Details["command_id"] != id:
		case slices.Contains(carriedOut, e.Name):
			return fmt.Sprintf("taken: %s in run %s", e.Name, e.Run), nil
		default:
			return "", &refusedError{e.Details["reason"], e.Details["detail"]}
		}
	}
	return "", nil
}
