package look

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// site stands for a Nissa that says what the test wants, and notes what it is asked.
type site struct {
	mu    sync.Mutex
	said  map[string]string
	asked []string
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, r.URL.Path)
	text, known := s.said[r.URL.Path]
	if !known {
		w.WriteHeader(http.StatusNotFound)
	}
	_, _ = fmt.Fprint(w, text)
}

func (s *site) run(states ...string) {
	var runs []string
	for i, state := range states {
		id, at, _ := strings.Cut(state, "@")
		runs = append(runs, fmt.Sprintf(`{"id":"r%d","state":%q,"last_at":%q,"seeds":{"SEED_STAGE_TRAINING":1}}`, i, id, at))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said["/api/runs"] = `{"runs":[` + strings.Join(runs, ",") + `]}`
	s.asked = nil
}

func (s *site) askedForSeeds() (runs []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, path := range s.asked {
		if run, is := strings.CutSuffix(path, "/seeds"); is {
			runs = append(runs, strings.TrimPrefix(run, "/api/runs/"))
		}
	}
	return runs
}

// TestWatchAsksForSeedsWhenSomethingIsNew: it asks every 2 s, and most runs have nothing new.
func TestWatchAsksForSeedsWhenSomethingIsNew(t *testing.T) {
	const first, then = "2026-11-30T12:00:00Z", "2026-11-30T12:00:02Z"
	s := &site{said: map[string]string{"/api/events": `{"events":[]}`}}
	for i := range 3 {
		s.said[fmt.Sprintf("/api/runs/r%d/seeds", i)] = fmt.Sprintf(`{"seeds":[{"id":"s%d"}]}`, i)
	}
	server := httptest.NewServer(s)
	defer server.Close()
	t.Chdir(t.TempDir())
	t.Setenv("NISSA_URL", server.URL)
	watch, err := NewWatch()
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Close()
	for _, step := range []struct {
		runs  []string
		asked []string
		seeds int
	}{
		{[]string{"running@" + first, "running@" + first, "silent@" + first}, []string{"r0", "r1"}, 2},
		{[]string{"running@" + first, "running@" + first, "silent@" + first}, nil, 2},
		{[]string{"running@" + first, "running@" + then, "silent@" + first}, []string{"r1"}, 2},
		{[]string{"halted@" + first, "running@" + then, "running@" + then}, []string{"r2"}, 2},
		{[]string{"running@" + first, "running@" + then, "silent@" + then}, []string{"r0"}, 2},
	} {
		s.run(step.runs...)
		known, err := watch.Nissa(t.Context())
		if err != nil || len(known.Runs) != 3 || len(known.Seeds) != step.seeds || len(known.Raised) != 0 {
			t.Fatalf("%v: %+v, %v", step.runs, known, err)
		}
		if asked := s.askedForSeeds(); !slices.Equal(asked, step.asked) {
			t.Errorf("%v: asked for the seeds of %v, want %v", step.runs, asked, step.asked)
		}
	}
}

// TestWatchStaysConnected: a new connection for each of up to 23 questions, every 2 s, costs both ends
// more than the answers do.
func TestWatchStaysConnected(t *testing.T) {
	var token atomic.Value
	opened, closed := make(chan struct{}, 100), make(chan struct{}, 100)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+token.Load().(string) {
			w.WriteHeader(http.StatusUnauthorized)
		}
		_, _ = fmt.Fprint(w, "{}")
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			opened <- struct{}{}
		case http.StateClosed:
			closed <- struct{}{}
		default:
		}
	}
	server.Start()
	defer server.Close()
	t.Chdir(t.TempDir())
	for _, env := range []string{"NISSA", "WEATHERLIGHT"} {
		t.Setenv(env+"_URL", server.URL)
		t.Setenv(env+"_HTTP_TOKEN_FILE", "token")
	}
	turn := func(to string) {
		token.Store(to)
		if err := os.WriteFile("token", []byte(to), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	turn("the-first-token-of-tests")
	watch, err := NewWatch()
	if err != nil {
		t.Fatal(err)
	}
	ask := func() error {
		_, err := watch.Nissa(t.Context())
		_, other := watch.Weatherlight(t.Context())
		return errors.Join(err, other)
	}
	if err := errors.Join(ask(), ask(), ask()); err != nil || len(opened) != 2 {
		t.Errorf("it opened %d connections for two services, %v", len(opened), err)
	}
	turn("the-second-token-of-tests")
	if err := ask(); err == nil {
		t.Error("the service let it in by the token from before")
	}
	if err := ask(); err != nil {
		t.Errorf("the token is another now: %v", err)
	}
	watch.Close()
	for range len(opened) {
		<-closed
	}
}
