package look

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
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
