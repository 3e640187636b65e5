package api

import (
	"bufio"
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/nissa/internal/runs"
	"github.com/esper-lite/weatherlight/nissa/internal/runstore"
)

// following is one that reads a stream.
type following struct {
	t     *testing.T
	lines *bufio.Scanner
	place string // at which it begins
	close func()
}

func (s *served) follow(query, lastEventID string) *following {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.server.URL+"/api/stream"+query, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if lastEventID != "" {
		request.Header.Set("Last-Event-ID", lastEventID)
	}
	response, err := s.server.Client().Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	if response.Header.Get("Content-Type") != "text/event-stream" {
		s.t.Fatalf("%d %v", response.StatusCode, response.Header)
	}
	f := &following{t: s.t, lines: bufio.NewScanner(response.Body), close: func() { cancel(); _ = response.Body.Close() }}
	s.t.Cleanup(f.close)
	f.place = f.next()["id"] // with retry
	return f
}

// next is the next frame, by the names of its fields.
func (f *following) next() map[string]string {
	f.t.Helper()
	frame := map[string]string{}
	for f.lines.Scan() {
		line := f.lines.Text()
		if line == "" {
			return frame
		}
		name, value, _ := strings.Cut(line, ": ")
		frame[name] = value
	}
	f.t.Fatalf("the stream ended: %v", f.lines.Err())
	return nil
}

func TestStreamTellsWhatIsNewAndResumes(t *testing.T) {
	s := serve(t)
	s.tell(report("run-1", 1))
	f := s.follow("", "")
	s.tell(report("run-1", 2), command("run-1"))
	first, second := f.next(), f.next()
	if first["event"] != "event" || second["event"] != "report" || !strings.Contains(second["data"], `"epoch":2`) {
		t.Errorf("%v, %v", first, second)
	}
	f.close()
	s.tell(report("run-1", 3))
	s.tell(report("run-1", 4))
	f = s.follow("", second["id"])
	if third, fourth := f.next(), f.next(); !strings.Contains(third["data"], `"epoch":3`) || !strings.Contains(fourth["data"], `"epoch":4`) {
		t.Errorf("%v, %v", third, fourth)
	}
}

// TestStreamResumesBeforeItToldAnything: who lost the connection before anything came
// knows its place as well.
func TestStreamResumesBeforeItToldAnything(t *testing.T) {
	s := serve(t)
	s.tell(report("run-1", 1))
	f := s.follow("", "")
	f.close()
	s.tell(report("run-1", 2))
	if frame := s.follow("", f.place).next(); !strings.Contains(frame["data"], `"epoch":2`) {
		t.Errorf("from %q: %v", f.place, frame)
	}
}

// The bounds of a request are not those of a stream.
func TestStreamOutlastsTheBoundsOfARequest(t *testing.T) {
	s := serve(t)
	f := s.follow("", "")
	for range 3 {
		<-time.After(requestTimeout)
		s.tell(command("run-1"))
		if frame := f.next(); frame["event"] != "event" {
			t.Errorf("%v", frame)
		}
	}
}

func TestStreamOfOneRunTellsOfNoOther(t *testing.T) {
	s := serve(t)
	f := s.follow("?run=mine", "")
	s.tell(report("other", 1), command("other"), command("mine"))
	s.tell(report("other", 2))
	s.tell(report("mine", 3))
	for _, want := range []string{"event", "event", "report"} { // command, stage, report
		if frame := f.next(); frame["event"] != want || !strings.Contains(frame["data"], `"run":"mine"`) {
			t.Errorf("%v", frame)
		}
	}
}

func TestStreamOfAnotherStoreBeginsAnew(t *testing.T) {
	s := serve(t)
	s.tell(report("run-1", 1))
	if frame := s.follow("", "999999").next(); frame["event"] != "reset" {
		t.Errorf("%v", frame)
	}
	for range 3 {
		var many []proto.Message
		for i := range tooFar / 2 {
			many = append(many, report("run-1", i))
		}
		s.tell(many...)
	}
	if frame := s.follow("?after=1", "").next(); frame["event"] != "reset" {
		t.Errorf("%v", frame)
	}
}

// What another process writes is seen, too.
func TestStreamTellsWhatAnotherProcessWrote(t *testing.T) {
	s := serve(t)
	other, err := runstore.Open(t.Context(), runstore.Config{URL: "sqlite:///" + s.store.Where()})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	f := s.follow("", "")
	if _, err := other.Put(t.Context(), []runs.Message{{Stream: "s", Entry: "1", Payload: report("run-1", 7), At: time.Now()}}); err != nil {
		t.Fatal(err)
	}
	if err := s.store.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if stage, told := f.next(), f.next(); stage["event"] != "event" || told["event"] != "report" {
		t.Errorf("%v, %v", stage, told)
	}
}
