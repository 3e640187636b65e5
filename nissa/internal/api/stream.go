package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"time"

	"github.com/esper-lite/weatherlight/nissa/internal/route"
	"github.com/esper-lite/weatherlight/nissa/internal/runs"
)

const (
	// window is how many places are read at a time, and behind how many a client begins anew.
	window, tooFar = 500, 5_000
	// heartbeat keeps what is between from taking a silent connection for a dead one.
	heartbeat = 15 * time.Second
	// pace is the pause between two looks of one client: a busy store has something new each
	// few milliseconds, and each look is a query for each client.
	pace = 200 * time.Millisecond
	// sendTimeout bounds how long a client may take for what it is sent.
	sendTimeout = 10 * time.Second
)

// follower is one connection that follows.
type follower struct {
	*server

	to      http.ResponseWriter
	control *http.ResponseController
	run     string
	after   int64
}

// stream sends what is new, within a moment of its commit, until the client goes.
func (s *server) stream(w http.ResponseWriter, q *http.Request) {
	head, _ := s.Store.Head()
	after, err := position(q, head)
	if err != nil {
		s.refuse(w, q, err)
		return
	}
	w.Header().Set("Content-Type", route.Stream)
	w.Header().Set("X-Accel-Buffering", "no") // of a proxy
	f := &follower{s, w, http.NewResponseController(w), q.URL.Query().Get("run"), after}
	// With its place, so that a client that comes back before it was told anything misses nothing.
	if f.send(fmt.Appendf(nil, "retry: 1000\nid: %d\n\n", after)) != nil {
		return
	}
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	rest := time.NewTicker(pace)
	defer rest.Stop()
	for err == nil {
		head, changed := s.Store.Head()
		if f.after > head { // of another store, or of one that began anew
			f.after = head
			err = f.say(head, "reset", struct{}{})
		} else if f.after < head {
			err = f.catchUp(q, head)
		}
		if err == nil {
			err = f.await(q.Context(), changed, beat.C, rest.C)
		}
	}
}

var errStopping = errors.New("stopping")

// await returns when there is something new and it is time to look at it.
func (f *follower) await(ctx context.Context, changed <-chan struct{}, beat, rest <-chan time.Time) error {
	var rested <-chan time.Time // nil until there is something new
	for {
		select {
		case <-changed:
			changed, rested = nil, rest
		case <-rested:
			return nil
		case <-beat:
			if err := f.send([]byte(": alive\n\n")); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		case <-f.Stopping:
			return errStopping
		}
	}
}

// position is where a client was: by the header that a browser sends when it comes back, or
// by the query, or else at the end.
func position(q *http.Request, head int64) (int64, error) {
	text := q.Header.Get("Last-Event-ID")
	if text == "" {
		text = q.URL.Query().Get("after")
	}
	if text == "" {
		return head, nil
	}
	after, err := strconv.ParseInt(text, 10, 64)
	if err != nil || after < 0 {
		return 0, badRequestError{"after must be a place"}
	}
	return after, nil
}

// catchUp sends what there is up to head.
func (f *follower) catchUp(q *http.Request, head int64) error {
	if head-f.after > tooFar {
		f.after = head
		return f.say(head, "reset", struct{}{})
	}
	for f.after < head {
		upTo := min(f.after+window, head)
		events, reports, err := f.Store.Changes(q.Context(), f.after, upTo)
		if err != nil {
			return err // the client comes back, and finds what it missed
		}
		if err := f.tell(events, reports); err != nil {
			return err
		}
		f.after = upTo
	}
	return nil
}

// tell sends both in the order of their places.
func (f *follower) tell(events []runs.Event, reports []runs.Report) error {
	var text bytes.Buffer
	for len(events)+len(reports) > 0 {
		if len(reports) == 0 || len(events) > 0 && events[0].Seq < reports[0].Seq {
			f.frame(&text, events[0].Run, events[0].Seq, "event", events[0])
			events = events[1:]
			continue
		}
		f.frame(&text, reports[0].Run, reports[0].Seq, "report", reports[0])
		reports = reports[1:]
	}
	return f.send(text.Bytes())
}

// frame adds one that the client wants.
func (f *follower) frame(text *bytes.Buffer, run string, seq int64, kind string, data any) {
	if f.run != "" && f.run != run {
		return
	}
	line, err := json.Marshal(data) // has no line ends of its own
	if err != nil {
		return
	}
	fmt.Fprintf(text, "id: %d\nevent: %s\ndata: %s\n\n", seq, kind, line)
}

func (f *follower) say(seq int64, kind string, data any) error {
	var text bytes.Buffer
	f.frame(&text, f.run, seq, kind, data)
	return f.send(text.Bytes())
}

func (f *follower) send(text []byte) error {
	if err := f.control.SetWriteDeadline(time.Now().Add(sendTimeout)); err != nil {
		return err
	}
	if _, err := f.to.Write(text); err != nil {
		return err
	}
	return f.control.Flush()
}

// export sends a run as lines. What fails once it has begun ends the connection, so that
// nobody takes a part for the whole.
func (s *server) export(w http.ResponseWriter, q *http.Request) {
	id := q.PathValue("run")
	if _, err := s.Store.Run(q.Context(), id); err != nil {
		s.refuse(w, q, err)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": id + ".jsonl"}))
	control := http.NewResponseController(w)
	if err := s.Store.Export(q.Context(), id, &patient{w, control}); err != nil {
		s.Logger.Warn("export not finished", "run", id, "error", err)
		_ = control.SetWriteDeadline(time.Unix(1, 0)) // a server that cannot do so does not wait for clients either
	}
}

// patient gives a client time for each part that it takes.
type patient struct {
	to      http.ResponseWriter
	control *http.ResponseController
}

func (p *patient) Write(text []byte) (int, error) {
	if err := p.control.SetWriteDeadline(time.Now().Add(sendTimeout)); err != nil {
		return 0, err
	}
	return p.to.Write(text)
}
