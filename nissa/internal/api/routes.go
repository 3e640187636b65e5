package api

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/esper-lite/weatherlight/nissa/internal/route"
	"github.com/esper-lite/weatherlight/nissa/internal/runs"
	"github.com/esper-lite/weatherlight/nissa/internal/runstore"
)

// Parameters that several routes have.
var (
	runParameter    = route.Parameter{Name: "run", Kind: "string", About: "Only of this run."}
	seedParameter   = route.Parameter{Name: "seed", Kind: "string", About: "Only of this seed."}
	kindParameter   = route.Parameter{Name: "kind", Kind: "kind", About: "Only of this kind."}
	namesParameter  = route.Parameter{Name: "names", Kind: "string", About: "Only of these names, at most 32, separated by commas."}
	beforeParameter = route.Parameter{Name: "before", Kind: "integer", About: "Only before this place: the next page of the newest."}
	limitParameter  = route.Parameter{Name: "limit", Kind: "integer", About: "How many at most: 1 to 1000, else 100."}
	afterParameter  = route.Parameter{
		Name: "after", Kind: "integer", About: "Only behind this place, the oldest first. Without it the newest come first.",
	}
	pointParameter = route.Parameter{
		Name: "points", Kind: "integer", About: "About how many at most, such that the curve keeps its shape: 2 to 10000, else 500.",
	}
	nameParameter = route.Parameter{Name: "after", Kind: "string", About: "Only those whose names come behind this one: as next says it."}
	pageParameter = route.Parameter{
		Name: "before", Kind: "string", About: "Only those that were heard of last before this time; as next says it, " +
			"also those of that time that follow.",
	}
)

const (
	defaultLimit, mostLimit   = 100, 1000
	defaultPoints, mostPoints = 500, 10_000
	defaultSeeds, mostSeeds   = 1000, 10_000
	mostNames                 = 32
)

// runView is a run with what follows from the time.
type runView struct {
	runs.Run
	State string `json:"state"`
}

type runsAnswer struct {
	Runs []runView `json:"runs"`
	Next *string   `json:"next"` // as before, for those that follow; null: there are none
	Head int64     `json:"head"` // the newest place, from which /api/stream goes on
}

type reportsAnswer struct {
	Reports []runs.Report `json:"reports"`
}

// seedView is a seed with the stages that it was in.
type seedView struct {
	runs.Seed
	Stages []runs.Interval `json:"stages"`
}

type seedsAnswer struct {
	Seeds []seedView `json:"seeds"`
}

type seedAnswer struct {
	Seed   seedView     `json:"seed"`
	Points []runs.Point `json:"points"`
	Events []runs.Event `json:"events"` // its gates, commands, stages and reports, the oldest first
}

type eventsAnswer struct {
	Events []runs.Event `json:"events"`
}

type alarmView struct {
	runs.Alarm
	Raised bool `json:"raised"`
}

type alarmsAnswer struct {
	Alarms []alarmView `json:"alarms"`
}

type sourcesAnswer struct {
	Sources []runs.Source `json:"sources"`
	Next    *string       `json:"next"` // as after, for those that follow; null: there are none
}

type storeAnswer struct {
	runstore.Size
	RetentionSeconds float64 `json:"retention_seconds"`
}

func (s *server) routes() []route.Route {
	ofSources := []route.Parameter{limitParameter, nameParameter}
	ofEvents := []route.Parameter{seedParameter, kindParameter, namesParameter, afterParameter, beforeParameter, limitParameter}
	all := []route.Route{
		{Path: "/api/runs", Summary: "Training runs, those heard of last first.", Answer: runsAnswer{}, Handler: s.reading(s.runs),
			Parameters: []route.Parameter{limitParameter, pageParameter}},
		{Path: "/api/runs/{run}", Summary: "One run.", Answer: runView{}, Handler: s.reading(s.run)},
		{Path: "/api/runs/{run}/reports", Summary: "What its trainers reported, the oldest first: the curves.",
			Answer: reportsAnswer{}, Handler: s.reading(s.reports),
			Parameters: []route.Parameter{pointParameter, {Name: "since", Kind: "date-time", About: "Only those after this time."}}},
		{Path: "/api/runs/{run}/seeds", Summary: "Its seeds, with the stages that each was in.",
			Answer: seedsAnswer{}, Handler: s.reading(s.seeds), Parameters: []route.Parameter{{Name: "limit", Kind: "integer",
				About: "How many at most, those that were heard of last: 1 to 10000, else 1000."}}},
		{Path: "/api/runs/{run}/seeds/{seed}", Summary: "One seed: its share and figures report by report, its gates and commands.",
			Answer: seedAnswer{}, Handler: s.reading(s.seed), Parameters: []route.Parameter{pointParameter}},
		{Path: "/api/runs/{run}/events", Summary: "What happened in the run.", Answer: eventsAnswer{}, Handler: s.reading(s.events),
			Parameters: ofEvents},
		{Path: "/api/runs/{run}/export", Summary: "All that is stored of the run, as lines of JSON that can be imported.",
			Handler: bounded(s.exports, s.export), Media: "application/x-ndjson"},
		{Path: "/api/events", Summary: "What happened anywhere.", Answer: eventsAnswer{}, Handler: s.reading(s.events),
			Parameters: append([]route.Parameter{runParameter}, ofEvents...)},
		{Path: "/api/alarms", Summary: "Alarms that services told of, the last first.", Answer: alarmsAnswer{},
			Handler: s.reading(s.alarms)},
		{Path: "/api/sources", Summary: "Who sends telemetry, with the figures of the last packet that was about no run.",
			Answer: sourcesAnswer{}, Handler: s.reading(s.sources("")), Parameters: ofSources},
		{Path: "/api/workers", Summary: "The same of the figures about workers.", Answer: sourcesAnswer{},
			Handler: s.reading(s.sources("weatherlight.worker")), Parameters: ofSources},
		{Path: "/api/kernels", Summary: "The same of the figures about the kernel library.", Answer: sourcesAnswer{},
			Handler: s.reading(s.sources("urza.")), Parameters: ofSources},
		{Path: "/api/forge", Summary: "The same of the figures about the forge.", Answer: sourcesAnswer{},
			Handler: s.reading(s.sources("tezzeret.")), Parameters: ofSources},
		{Path: "/api/store", Summary: "What the store keeps, and its bounds.", Answer: storeAnswer{}, Handler: s.reading(s.size)},
		{Path: "/api/stream", Summary: "What comes from now on, or behind the place of the header Last-Event-ID, as server-sent " +
			"events: report and event with what /api/runs/{run}/reports and /api/events have, and reset when a client is too far behind.",
			Handler: bounded(s.streams, s.stream), Media: route.Stream,
			Parameters: []route.Parameter{runParameter, {Name: "after", Kind: "integer", About: "In place of the header."}}},
	}
	for i := range all {
		all[i].Method, all[i].Status, all[i].Refusals = http.MethodGet, http.StatusOK, refusals
	}
	return all
}

var refusals = map[int]string{
	http.StatusBadRequest: "A parameter cannot be read.", http.StatusNotFound: "Not in the store.",
	http.StatusServiceUnavailable: "The store does not answer, or too many ask.",
}

func (s *server) runs(q *http.Request) (any, error) {
	limit, err := number(q, "limit", 1, defaultLimit, mostLimit)
	if err != nil {
		return nil, err
	}
	text, behind, _ := strings.Cut(q.URL.Query().Get("before"), ",")
	before, err := moment("before", text)
	if err != nil {
		return nil, err
	}
	head, _ := s.Store.Head() // before the runs: what comes meanwhile is told by the stream
	found, err := s.Store.Runs(q.Context(), before, behind, limit)
	if err != nil {
		return nil, err
	}
	answer, now := runsAnswer{Runs: []runView{}, Head: head}, s.Now()
	for _, r := range found {
		answer.Runs = append(answer.Runs, runView{r, r.State(now)})
	}
	if len(found) == limit {
		next := found[limit-1].LastAt.Format(time.RFC3339Nano) + "," + found[limit-1].ID
		answer.Next = &next
	}
	return answer, nil
}

func (s *server) run(q *http.Request) (any, error) {
	r, err := s.Store.Run(q.Context(), q.PathValue("run"))
	return runView{r, r.State(s.Now())}, err
}

func (s *server) reports(q *http.Request) (any, error) {
	points, err := number(q, "points", 2, defaultPoints, mostPoints)
	if err != nil {
		return nil, err
	}
	since, err := moment("since", q.URL.Query().Get("since"))
	if err != nil {
		return nil, err
	}
	if _, err := s.Store.Run(q.Context(), q.PathValue("run")); err != nil {
		return nil, err
	}
	found, err := s.Store.Reports(q.Context(), q.PathValue("run"), since, points)
	return reportsAnswer{found}, err
}

// mostStages bounds the events of which the stages of a run's seeds are made.
const mostStages = 20_000

func (s *server) seeds(q *http.Request) (any, error) {
	run := q.PathValue("run")
	most, err := number(q, "limit", 1, defaultSeeds, mostSeeds)
	if err != nil {
		return nil, err
	}
	if _, err := s.Store.Run(q.Context(), run); err != nil {
		return nil, err
	}
	seeds, err := s.Store.Seeds(q.Context(), run, most)
	if err != nil {
		return nil, err
	}
	events, err := s.Store.Events(q.Context(), runstore.Filter{Run: run, Kind: runs.KindStage, Most: mostStages})
	if err != nil {
		return nil, err
	}
	bySeed := make(map[string][]runs.Event)
	for _, e := range events {
		bySeed[e.Seed] = append(bySeed[e.Seed], e)
	}
	answer := seedsAnswer{Seeds: []seedView{}}
	for _, seed := range seeds {
		answer.Seeds = append(answer.Seeds, seedView{seed, runs.Intervals(bySeed[seed.ID])})
	}
	return answer, nil
}

func (s *server) seed(q *http.Request) (any, error) {
	points, err := number(q, "points", 2, defaultPoints, mostPoints)
	if err != nil {
		return nil, err
	}
	run, id := q.PathValue("run"), q.PathValue("seed")
	seed, err := s.Store.Seed(q.Context(), run, id)
	if err != nil {
		return nil, err
	}
	curve, err := s.Store.Points(q.Context(), run, id, points)
	if err != nil {
		return nil, err
	}
	events, err := s.Store.Events(q.Context(), runstore.Filter{Run: run, Seed: id, After: -1, Most: mostLimit})
	if err != nil {
		return nil, err
	}
	stages, err := s.Store.Events(q.Context(), runstore.Filter{Run: run, Seed: id, Kind: runs.KindStage, Most: mostStages})
	return seedAnswer{Seed: seedView{seed, runs.Intervals(stages)}, Points: curve, Events: events}, err
}

func (s *server) events(q *http.Request) (any, error) {
	limit, err := number(q, "limit", 1, defaultLimit, mostLimit)
	if err != nil {
		return nil, err
	}
	after, err := number(q, "after", 0, 0, 1<<62)
	if err != nil {
		return nil, err
	}
	before, err := number(q, "before", 0, 0, 1<<62)
	if err != nil {
		return nil, err
	}
	query := q.URL.Query()
	kind := runs.Kind(query.Get("kind"))
	if kind != "" && !slices.Contains(runs.Kinds(), kind) {
		return nil, badRequestError{fmt.Sprintf("kind must be one of %s", runs.Kinds())}
	}
	f := runstore.Filter{
		Run: query.Get("run"), Seed: query.Get("seed"), Kind: kind, After: int64(after), Before: int64(before), Most: limit,
	}
	if text := query.Get("names"); text != "" {
		f.Names = strings.Split(text, ",")
	}
	if len(f.Names) > mostNames {
		return nil, badRequestError{fmt.Sprintf("names must be %d at most", mostNames)}
	}
	if query.Has("after") && after == 0 {
		f.After = -1
	}
	if run := q.PathValue("run"); run != "" {
		f.Run = run
		if _, err := s.Store.Run(q.Context(), run); err != nil {
			return nil, err
		}
	}
	found, err := s.Store.Events(q.Context(), f)
	return eventsAnswer{found}, err
}

func (s *server) alarms(q *http.Request) (any, error) {
	found, err := s.Store.Alarms(q.Context())
	answer, now := alarmsAnswer{Alarms: []alarmView{}}, s.Now()
	for _, a := range found {
		answer.Alarms = append(answer.Alarms, alarmView{a, a.Raised(now)})
	}
	return answer, err
}

// sources are a page of all or, with a prefix, of those that have figures whose names begin so, and
// only those figures. It ends before its limit where they are large.
func (s *server) sources(prefix string) func(*http.Request) (any, error) {
	return func(q *http.Request) (any, error) {
		limit, err := number(q, "limit", 1, defaultLimit, mostLimit)
		if err != nil {
			return nil, err
		}
		found, more, err := s.Store.Sources(q.Context(), q.URL.Query().Get("after"), prefix, limit)
		if err != nil {
			return nil, err
		}
		answer := sourcesAnswer{Sources: []runs.Source{}}
		if more {
			answer.Next = &found[len(found)-1].Name
		}
		if prefix == "" {
			answer.Sources = found
			return answer, nil
		}
		for _, source := range found {
			var kept []runs.Figure
			for _, figure := range source.Figures {
				if strings.HasPrefix(figure.Name, prefix) {
					kept = append(kept, figure)
				}
			}
			if source.Figures = kept; len(kept) > 0 {
				answer.Sources = append(answer.Sources, source)
			}
		}
		return answer, nil
	}
}

func (s *server) size(q *http.Request) (any, error) {
	size, err := s.Store.Size(q.Context())
	return storeAnswer{size, size.Retention.Seconds()}, err
}

// number reads a parameter; one that is not there is its default, one that is too large
// the most that there is.
func number(q *http.Request, name string, least, def, most int) (int, error) {
	text := q.URL.Query().Get(name)
	if text == "" {
		return def, nil
	}
	value, err := strconv.Atoi(text)
	if err != nil || value < least {
		return 0, badRequestError{fmt.Sprintf("%s must be a number from %d on", name, least)}
	}
	return min(value, most), nil
}

func moment(name, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return at, badRequestError{name + " must be a time like 2026-01-02T15:04:05Z"}
	}
	return at, nil
}
