// Package letterapi serves the dead letters of the bus over HTTP as JSON, with what their bytes
// say, and replays and removes them for whoever has the token and says who asks. What only
// reads needs the token where the listener can be reached from other machines.
package letterapi

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/nissa/internal/route"
	"github.com/esper-lite/weatherlight/nissa/internal/wish"
	"github.com/esper-lite/weatherlight/oona/deadletter"
	"github.com/esper-lite/weatherlight/telemetry"
)

const (
	defaultLimit, mostLimit = 100, 500
	// shownBytes bounds what is served of the bytes of one letter.
	shownBytes = 64 << 10
)

// Queue holds the letters; *deadletter.Queue is one.
type Queue interface {
	List(ctx context.Context, after string, limit int) ([]deadletter.Letter, error)
	Get(ctx context.Context, id string) (deadletter.Letter, error)
	Replay(ctx context.Context, id string) (string, error)
	Replayable(letter deadletter.Letter) error
	Purge(ctx context.Context, ids ...string) (int64, error)
}

// Config is what the paths need.
type Config struct {
	Queue  Queue
	Tell   func(context.Context, *leyline.TelemetryPacket) error
	Logger *slog.Logger
}

type api struct{ Config }

// Routes are what is served of dead letters.
func Routes(config Config) []route.Route {
	a := &api{config}
	refusals := map[int]string{
		http.StatusBadRequest: "It cannot be read what is wanted.", http.StatusNotFound: "No such dead letter.",
		http.StatusServiceUnavailable: "The bus does not answer.",
	}
	again := maps.Clone(refusals)
	again[http.StatusConflict] = "It was replayed before, or cannot be."
	return []route.Route{
		{Method: http.MethodGet, Path: "/api/deadletters", Summary: "What the bus refused or gave up, the oldest first.",
			Parameters: []route.Parameter{{Name: "after", Kind: "string", About: "Only those that follow this one, by its id."},
				{Name: "limit", Kind: "integer", About: "How many at most: 1 to 500, else 100."}},
			Status: http.StatusOK, Answer: lettersAnswer{}, Refusals: refusals, Handler: http.HandlerFunc(a.list)},
		{Method: http.MethodGet, Path: "/api/deadletters/{id}", Summary: "One dead letter, with the message that it holds.",
			Status: http.StatusOK, Answer: letterAnswer{}, Refusals: refusals, Handler: http.HandlerFunc(a.show)},
		{Method: http.MethodPost, Path: "/api/deadletters/{id}/replay", Body: wish.Who{},
			Summary: "Publishes it again, newly signed, for the group that gave it up. Each is replayed once at most.",
			Status:  http.StatusOK, Answer: replayAnswer{}, Refusals: again, Handler: wish.Handler(a.replay)},
		{Method: http.MethodDelete, Path: "/api/deadletters/{id}", Summary: "Removes it.", Body: wish.Who{},
			Status: http.StatusNoContent, Refusals: refusals, Handler: wish.Handler(a.purge)},
	}
}

type lettersAnswer struct {
	Letters []letterEntry `json:"letters"`
}

type replayAnswer struct {
	Replayed string `json:"replayed"` // as what
}

// letterEntry is one letter in a list.
type letterEntry struct {
	ID       string    `json:"id"`
	Time     time.Time `json:"time"`
	Stream   string    `json:"stream"`
	EntryID  string    `json:"entry_id"`
	Group    string    `json:"group"`
	Type     string    `json:"type"`
	Reason   string    `json:"reason"`
	Error    string    `json:"error"`
	Attempts int       `json:"attempts"`
	Bytes    int       `json:"bytes"`
	Replayed string    `json:"replayed,omitempty"` // as what
	Refused  string    `json:"refused,omitempty"`  // why it can never be replayed
}

func (a *api) entryOf(letter deadletter.Letter) letterEntry {
	kind := "unreadable"
	if found, err := letter.Type(); err == nil {
		kind = strings.TrimPrefix(found.String(), "BUS_MESSAGE_TYPE_")
	}
	shown := letterEntry{
		ID: letter.ID, Time: letter.Time.UTC(), Stream: letter.Stream, EntryID: letter.EntryID, Group: letter.Group, Type: kind,
		Reason: letter.Reason, Error: letter.Error, Attempts: letter.Attempts, Bytes: len(letter.Payload), Replayed: letter.Replayed,
	}
	if err := a.Queue.Replayable(letter); err != nil {
		shown.Refused = err.Error()
	}
	return shown
}

func (a *api) list(w http.ResponseWriter, q *http.Request) {
	limit := defaultLimit
	if text := q.URL.Query().Get("limit"); text != "" {
		asked, err := strconv.Atoi(text)
		if err != nil || asked < 1 {
			wish.Refuse(w, http.StatusBadRequest, "limit must be a number from 1 on")
			return
		}
		limit = min(asked, mostLimit)
	}
	letters, err := a.Queue.List(q.Context(), q.URL.Query().Get("after"), limit)
	if errors.Is(err, deadletter.ErrNotFound) {
		wish.Refuse(w, http.StatusBadRequest, "after must be the id of a dead letter, such as 1767323045000-0")
		return
	}
	if err != nil {
		a.unavailable(w, q, err)
		return
	}
	entries := make([]letterEntry, 0, len(letters))
	for _, letter := range letters {
		entries = append(entries, a.entryOf(letter))
	}
	wish.Answer(w, http.StatusOK, lettersAnswer{entries})
}

// letterAnswer is a letter with what it holds. The message is what the bytes say: whether they
// can be trusted is another question. Its signature is not served.
type letterAnswer struct {
	letterEntry

	Message    json.RawMessage   `json:"message,omitempty"`
	Unreadable string            `json:"unreadable,omitempty"` // why there is no message
	Attributes map[string]string `json:"attributes,omitempty"`
	Payload    []byte            `json:"payload"` // its first 64 KiB
}

func (a *api) show(w http.ResponseWriter, q *http.Request) {
	letter, err := a.Queue.Get(q.Context(), q.PathValue("id"))
	if err != nil {
		a.refused(w, q, err)
		return
	}
	shown := letterAnswer{letterEntry: a.entryOf(letter), Payload: letter.Payload[:min(len(letter.Payload), shownBytes)]}
	message, attributes, err := letter.Message()
	shown.Attributes = attributes
	if err == nil {
		shown.Message, err = protojson.Marshal(message)
	}
	if err != nil {
		shown.Unreadable = err.Error()
	}
	wish.Answer(w, http.StatusOK, shown)
}

func (a *api) replay(w http.ResponseWriter, q *http.Request, wanted wish.Who) {
	id := q.PathValue("id")
	placed, err := a.Queue.Replay(q.Context(), id)
	if err != nil {
		a.refused(w, q, err)
		return
	}
	a.tell(q.Context(), "dead_letter_replayed", id, wanted)
	wish.Answer(w, http.StatusOK, replayAnswer{placed})
}

func (a *api) purge(w http.ResponseWriter, q *http.Request, wanted wish.Who) {
	id := q.PathValue("id")
	if _, err := a.Queue.Get(q.Context(), id); err != nil {
		a.refused(w, q, err)
		return
	}
	if _, err := a.Queue.Purge(q.Context(), id); err != nil {
		a.refused(w, q, err)
		return
	}
	a.tell(q.Context(), "dead_letter_removed", id, wanted)
	w.WriteHeader(http.StatusNoContent)
}

// tell says on the bus what was done, and who asked. It is done, whatever becomes of that.
func (a *api) tell(ctx context.Context, what, id string, wanted wish.Who) {
	a.Logger.Info(what, "letter", id, "by", wanted.By, "comment", wanted.Comment)
	packet := telemetry.New("nissa", "nissa-operator").
		Event(what, leyline.TelemetryLevel_TELEMETRY_LEVEL_INFO, "letter", id, "by", wanted.By, "comment", wanted.Comment).Build()
	if err := a.Tell(ctx, packet); err != nil {
		a.Logger.Warn("not told on the bus", "event", what, "error", err)
	}
}

func (a *api) refused(w http.ResponseWriter, q *http.Request, err error) {
	switch {
	case errors.Is(err, deadletter.ErrNotFound):
		wish.Refuse(w, http.StatusNotFound, "no such dead letter")
	case errors.Is(err, deadletter.ErrReplayed):
		wish.Refuse(w, http.StatusConflict, "it was replayed before")
	case errors.Is(err, deadletter.ErrNotReplayable):
		wish.Refuse(w, http.StatusConflict, err.Error())
	default:
		a.unavailable(w, q, err)
	}
}

func (a *api) unavailable(w http.ResponseWriter, q *http.Request, err error) {
	if q.Context().Err() == nil {
		a.Logger.Warn("request not answered", "path", q.URL.Path, "error", err)
	}
	wish.Refuse(w, http.StatusServiceUnavailable, "the bus does not answer")
}
