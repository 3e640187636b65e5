// Package objectives counts what is good and what is bad, and says how much of what may be bad is
// left and how fast it goes. Its alerts are those of the site reliability workbook: an error
// budget that burns too fast over a long window and over a short one, in pairs.
package objectives

import (
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/nissa/internal/rules"
	"github.com/esper-lite/weatherlight/nissa/internal/setback"
)

// A window of 30 days has steps of a minute for its tenth, and of an hour for its whole.
const (
	fineSteps    = 4320
	fineShare    = 10 * fineSteps
	coarseSteps  = 720
	leastStep    = time.Second
	maxCounters  = 10_000
	leastBad     = 3 // bad ones below which nothing burns
	maxCounterID = 512
	staleAfter   = time.Hour
	sweepPause   = time.Second
)

// pair is a long and a short window, as shares of the objective's own, and the rate at which the
// budget must burn over both.
type pair struct {
	speed string
	long  time.Duration // the objective's window is divided by it
	rate  float64
}

// pairs are those of the workbook: for 30 days an hour and five minutes, six hours and half an
// hour, a day and two hours, three days and six hours.
var pairs = []pair{{Fast, 720, 14.4}, {Fast, 120, 6}, {Slow, 30, 3}, {Slow, 10, 1}}

const (
	shortShare = 12 // of the long window
	// leastWindow is the shortest window of an objective whose own is short. Senders tell their counters
	// each ten seconds: over less nothing may have been told.
	leastWindow = 30 * time.Second
)

// How fast a budget burns.
const (
	Fast = "fast" // somebody should be woken
	Slow = "slow" // somebody should look at it today
)

// Burn is how fast a budget burned over a window: 1 uses it up exactly in the objective's own.
type Burn struct {
	Window time.Duration
	Rate   float64
}

// Status is how an objective is met.
type Status struct {
	Objective rules.Objective
	Count     Count
	Known     bool    // something was counted
	Attained  float64 // share of the good ones
	Left      float64 // share of the budget that is left; negative when it is overdrawn
	Burns     []Burn
	Burning   map[string]bool // by Fast and Slow
}

// state is what is counted for one objective.
type state struct {
	objective    rules.Objective
	fine, coarse ring
}

// counter is the last value of a counter of one sender.
type counter struct {
	Value float64   `json:"value"`
	At    time.Time `json:"at"`
	Came  time.Time `json:"came,omitzero"` // when, by our clock
}

// Keeper counts for all objectives. It belongs to one goroutine.
type Keeper struct {
	states   []*state
	counters map[string]counter
	swept    time.Time
}

// New has counted nothing.
func New(objectives []rules.Objective) *Keeper {
	k := &Keeper{counters: map[string]counter{}}
	k.Use(objectives)
	return k
}

// Use takes over other objectives. What was counted stays for those of the same name and window.
func (k *Keeper) Use(objectives []rules.Objective) {
	before := k.states
	k.states = nil
	for _, o := range objectives {
		s := &state{
			objective: o,
			fine:      newRing(max(o.Window/fineShare, leastStep), fineSteps), coarse: newRing(o.Window/coarseSteps, coarseSteps),
		}
		for _, old := range before {
			if old.objective.Name == o.Name && old.objective.Window == o.Window {
				s.fine, s.coarse = old.fine, old.coarse
			}
		}
		k.states = append(k.states, s)
	}
}

// Observe counts what a packet tells.
func (k *Keeper) Observe(packet *leyline.TelemetryPacket, now time.Time) {
	at := now
	if stamp := packet.GetTimestamp(); stamp.IsValid() && stamp.AsTime().Before(now) {
		at = stamp.AsTime()
	}
	source, instance := packet.GetSourceSubsystem(), packet.GetSystemHealth().GetIndicators()["instance"]
	risen := map[*leyline.MetricPoint]float64{} // one counter may count for several objectives
	for _, s := range k.states {
		if len(s.objective.Sources) > 0 && !slices.Contains(s.objective.Sources, source) {
			continue
		}
		c := s.judged(packet)
		for _, point := range packet.GetMetrics() {
			total, bad := slices.Contains(s.objective.Total, point.GetName()), slices.Contains(s.objective.Bad, point.GetName())
			if !total && !bad {
				continue
			}
			rise, known := risen[point]
			if !known {
				rise = k.rise(identify(source, instance, point), point.GetValue(), at, now)
				risen[point] = rise
			}
			if total {
				c.Total += rise
			}
			if bad {
				c.Bad += rise
			}
		}
		if (c.Total > 0 || c.Bad > 0) && now.Sub(at) <= s.objective.Window { // what is older counts for nothing
			s.fine.add(at, c)
			s.coarse.add(at, c)
		}
	}
}

// judged counts the points of the one metric that an objective judges.
func (s *state) judged(packet *leyline.TelemetryPacket) (c Count) {
	if s.objective.Metric == "" {
		return c
	}
	last := func(metric string) float64 {
		for _, point := range packet.GetMetrics() {
			if point.GetName() == metric {
				return point.GetValue()
			}
		}
		return math.NaN()
	}
	none := func(string) float64 { return math.NaN() }
	for _, point := range packet.GetMetrics() {
		if point.GetName() != s.objective.Metric {
			continue
		}
		labels := point.GetAttributes()
		if labels == nil {
			labels = map[string]string{}
		}
		good, err := s.objective.Good.Holds(rules.Env{
			Source: packet.GetSourceSubsystem(), Name: point.GetName(), Value: point.GetValue(), Labels: labels,
			Last: last, Count: none, Increase: none, Average: none, Highest: none, Lowest: none,
		})
		if c.Total++; err != nil || !good {
			c.Bad++
		}
	}
	return c
}

func identify(source, instance string, point *leyline.MetricPoint) string {
	parts := []string{source, instance, point.GetName()}
	for name, text := range point.GetAttributes() {
		parts = append(parts, name+"\x00"+text)
	}
	slices.Sort(parts[3:])
	id := strings.Join(parts, "\x00")
	return strings.Clone(id[:min(len(id), maxCounterID)])
}

// rise is by how much a counter has risen since it was last told. One that falls was set back to 0;
// what the first value counts was before our time.
func (k *Keeper) rise(id string, value float64, at, now time.Time) float64 {
	before, known := k.counters[id]
	if known && setback.Late(at, now, before.At, before.Came) || math.IsNaN(value) || math.IsInf(value, 0) || value < 0 {
		return 0
	}
	if !known && !k.room(at) {
		return 0
	}
	k.counters[id] = counter{value, at, now}
	switch {
	case !known:
		return 0
	case value < before.Value:
		return value
	default:
		return value - before.Value
	}
}

// room makes some by forgetting the counters that are not told any more.
func (k *Keeper) room(now time.Time) bool {
	if len(k.counters) >= maxCounters && now.Sub(k.swept) >= sweepPause {
		k.swept = now
		maps.DeleteFunc(k.counters, func(_ string, c counter) bool { return now.Sub(c.At) > staleAfter })
	}
	return len(k.counters) < maxCounters
}

// Statuses are how the objectives are met now.
func (k *Keeper) Statuses(now time.Time) []Status {
	statuses := make([]Status, 0, len(k.states))
	for _, s := range k.states {
		statuses = append(statuses, s.status(now))
	}
	return statuses
}

func (s *state) status(now time.Time) Status {
	budget := 1 - s.objective.Target
	count := s.coarse.over(now, s.objective.Window)
	status := Status{
		Objective: s.objective, Count: count, Known: count.Total > 0,
		Attained: 1 - count.share(), Left: 1 - count.share()/budget, Burning: map[string]bool{Fast: false, Slow: false},
	}
	for _, p := range pairs {
		long := max(s.objective.Window/p.long, leastWindow)
		short := max(long/shortShare, leastWindow)
		over, lately := s.fine.over(now, long), s.fine.over(now, short)
		status.Burns = append(status.Burns, Burn{short, lately.share() / budget}, Burn{long, over.share() / budget})
		if over.Bad >= leastBad && over.share()/budget > p.rate && lately.share()/budget > p.rate {
			status.Burning[p.speed] = true
		}
	}
	slices.SortFunc(status.Burns, func(a, b Burn) int { return int(a.Window - b.Window) })
	status.Burns = slices.CompactFunc(status.Burns, func(a, b Burn) bool { return a.Window == b.Window })
	return status
}
