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
	"github.com/esper-lite/weatherlight/settings"
)

const (
	// lookPause is between two looks at the feed.
	lookPause = 100 * time.Millisecond
	// askPatience bounds the question whether there is a run at all.
	askPatience = 2 * time.Second
)

// carriedOut are the events by which Kasmina says that it has taken a command.
var carriedOut = []string{"seed_operation", "seed_paused", "seed_resumed", "emergency_cleanup", "emergency_lifted"}

// feed is Nissa's, from a place on. It is nil when Nissa could not be asked.
type feed struct {
	service *ask.Service
	head    int64
	idle    bool // there is no run that the command could concern
}

// newFeed notes where the feed stands, before anything is sent, and whether Nissa knows of no run.
func newFeed(ctx context.Context) (f *feed, unheard bool, err error) {
	service, err := nissa()
	if err != nil {
		return nil, false, err
	}
	var page struct {
		Head int64             `json:"head"`
		Runs []json.RawMessage `json:"runs"`
	}
	if err := service.Get(ctx, "/api/runs", url.Values{"limit": {"1"}}, &page); err != nil {
		return nil, false, err
	}
	return &feed{service: service, head: page.Head}, len(page.Runs) == 0, nil
}

// openFeed is newFeed for an order, which it completes with what Nissa knows of the seed. A run or seed that
// Nissa has never heard of is an error: a cull of such a seed would wait for one of that name.
func openFeed(ctx context.Context, o *order) (*feed, error) {
	f, unheard, err := newFeed(ctx)
	if _, is := errors.AsType[*ask.UnreachableError](err); is && o.kind != leyline.CommandType_COMMAND_SEED {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if o.run == "" {
		f.idle = noRun(ctx, unheard)
		return f, nil
	}
	var known struct{ Seed struct{ Blueprint string } }
	path := "/api/runs/" + url.PathEscape(o.run)
	if o.seed != "" {
		path += "/seeds/" + url.PathEscape(o.seed)
	}
	err = f.service.Get(ctx, path, nil, &known)
	if refused, is := errors.AsType[*ask.RefusedError](err); is && refused.Status == http.StatusNotFound {
		return nil, fmt.Errorf("nobody has told of %s in run %s (esperctl seeds list): %w", named(o.seed), o.run, err)
	}
	o.blueprint = known.Seed.Blueprint
	return f, err
}

// noRun says whether there is no run that Kasmina would decide on. Weatherlight knows: Nissa
// remembers runs long after, and holds where Weatherlight does not answer.
func noRun(ctx context.Context, unheard bool) bool {
	resolved, err := settings.Load(settings.Options{SecretOptional: true})
	if err != nil {
		return unheard
	}
	service, err := ask.Weatherlight(resolved)
	if err != nil {
		return unheard
	}
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	var page struct{ Runs []string }
	if err := service.Get(ctx, "/runs", nil, &page); err != nil {
		return unheard
	}
	return len(page.Runs) == 0
}

func named(seed string) string {
	if seed == "" {
		return "anything"
	}
	return "a seed " + seed
}

// refusedError is what is said of something that was not taken.
type refusedError struct{ reason, detail, page string }

func (e *refusedError) Error() string {
	text := "refused: " + e.reason
	if e.detail != "" {
		text += " (" + e.detail + ")"
	}
	return text + "; docs/" + e.page + " says what that means"
}

// unansweredError is of something that nobody has taken up in time.
type unansweredError struct {
	id    string
	wait  time.Duration
	later string // what may become of it
}

func (e *unansweredError) Error() string {
	return fmt.Sprintf("sent as %s, and not answered within %s: is esper-weatherlight-service well (esperctl status), "+
		"and ESPER_LEYLINE_SECRET the same here and there? %s",
		e.id, e.wait, e.later)
}

// Exit is the code of something that is needed and not there.
func (*unansweredError) Exit() int { return process.ExitDependency }

// event is one of the feed.
type event struct {
	Seq     int64
	Kind    string
	Name    string
	Run     string
	Details map[string]string
}

// question asks what came of something.
type question struct {
	id    string // that it was sent as
	later string // what may become of it when nobody answers in time
	// answer is what an event says of it, or nothing.
	answer func(e event) (said string, err error)
}

// ofCommand asks what Kasmina made of a command.
func ofCommand(id string) question {
	const later = "It may still be carried out within a minute, or for as long as five reports of its run take"
	return question{id, later, func(e event) (string, error) {
		switch {
		case e.Details["command_id"] != id:
			return "", nil
		case slices.Contains(carriedOut, e.Name):
			return fmt.Sprintf("taken: %s in run %s", e.Name, e.Run), nil
		default:
			return "", &refusedError{e.Details["reason"], e.Details["detail"], "operations/metrics.md"}
		}
	}}
}

// await looks for what came of something.
func (f *feed) await(ctx context.Context, q question, wait time.Duration) (said string, err error) {
	switch {
	case wait <= 0:
		return "sent as " + q.id, nil
	case f == nil:
		return "sent as " + q.id + "; what came of it is not known, for Nissa could not be asked (NISSA_URL)", nil
	case f.idle:
		return "sent as " + q.id + "; nobody answers, for there is no run that could", nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, wait, &unansweredError{q.id, wait, q.later})
	defer cancel()
	look := time.NewTicker(lookPause)
	defer look.Stop()
	for {
		answer, err := f.look(ctx, q)
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
func (f *feed) look(ctx context.Context, q question) (answer string, err error) {
	var page struct{ Events []event }
	behind := url.Values{"after": {strconv.FormatInt(f.head, 10)}, "limit": {"1000"}}
	if err := f.service.Get(ctx, "/api/events", behind, &page); err != nil {
		return "", err
	}
	for _, e := range page.Events {
		f.head = max(f.head, e.Seq)
		if e.Kind != "event" {
			continue
		}
		if answer, err := q.answer(e); answer != "" || err != nil {
			return answer, err
		}
	}
	return "", nil
}
