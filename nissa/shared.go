package nissa

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/esper-lite/weatherlight/nissa/internal/runstore"
)

// mostShared is how many series one tells the others at a time. The rest is told with the next ones.
const mostShared = 5000

// share has those that share a store show the same last values: each takes a part of what is told of a source,
// so that each alone would show what it heard last, and not what was said last.
func (s *Service) share(ctx context.Context) error {
	m := s.kept.members
	if len(m.seen) == 0 {
		m.round = 0 // whoever comes is told everything, and may have told something itself
		return nil
	}
	local, bus := time.Now(), s.config.Bus.Now()
	told := s.recorder.series.unshared(m.round == 0, bus.Sub(local))
	news, round, err := m.store.ShareSeries(ctx, told, m.round, bus.Add(-s.config.Limits.SeriesTTL), 2*s.config.Limits.Series)
	if err != nil {
		m.round = 0 // nobody knows what was told
		return err
	}
	m.round = round
	s.recorder.series.take(news, local.Sub(bus))
	return nil
}

// unshared are last values that were not told to the others yet, or with all of them those that there are. Ahead is
// the clock of all, of ours.
func (t *seriesTable) unshared(all bool, ahead time.Duration) (told []runstore.Series) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for name, f := range t.flags {
		if f.changed = f.changed || all && !f.said.IsZero(); f.changed {
			f.changed = false
			told = append(told, sharedOf([]string{name}, f.value, f.said, f.heard.Add(ahead)))
		}
	}
	for key, s := range t.table {
		if s.changed = s.changed || all; s.changed && len(told) < mostShared {
			s.changed = false
			told = append(told, sharedOf(strings.Split(key, "\x00"), s.value, s.said, s.heard.Add(ahead)))
		}
	}
	return told
}

func sharedOf(name []string, value float64, said, heard time.Time) runstore.Series {
	return runstore.Series{Name: name, Value: strconv.FormatFloat(value, 'g', -1, 64), Said: said, Heard: heard}
}

// take takes over what the others were told. Ahead is our clock, of that of all.
func (t *seriesTable) take(news []runstore.Series, ahead time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, one := range news {
		value, err := strconv.ParseFloat(one.Value, 64)
		if err != nil || len(one.Name)%2 == 0 {
			continue
		}
		if len(one.Name) == 1 {
			if f := t.flags[one.Name[0]]; f != nil && one.Said.After(f.said) {
				f.set(value, one.Said, one.Heard.Add(ahead))
				f.changed = false
			}
			continue
		}
		var labels []label
		for i := 1; i < len(one.Name); i += 2 {
			labels = append(labels, label{one.Name[i], one.Name[i+1]})
		}
		// What finds no room here was counted where it came from.
		_ = t.set(one.Name[0], labels, value, one.Said, one.Heard.Add(ahead))
		if s := t.table[seriesKey(one.Name[0], labels)]; s != nil && s.said.Equal(one.Said) {
			s.changed = false
		}
	}
}

// shownFlag is a gauge without labels of what was last said.
type shownFlag struct {
	gauge       *prometheus.GaugeVec
	value       float64
	said, heard time.Time
	changed     bool
}

func (f *shownFlag) set(value float64, said, heard time.Time) {
	if said.Before(f.said) && heard.Sub(f.heard) < lateness {
		return
	}
	f.value, f.said, f.heard, f.changed = value, said, heard, true
	f.gauge.WithLabelValues().Set(value)
}

// flag takes what a packet says of one.
func (t *seriesTable) flag(name string, value float64, said, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.flags[name].set(value, said, now)
}
