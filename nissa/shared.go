package nissa

import (
	"strconv"
	"strings"
	"time"

	"github.com/esper-lite/weatherlight/nissa/internal/runstore"
)

// mostShared is how many series one tells the others at a time. The rest is told with the next ones.
const mostShared = 5000

// exchange is what the others are told of the series: each takes a part of what is told of a source, so that each
// alone would show what it heard last, and not what was said last. It is nil while there are no others: whoever
// comes is told everything, and may have told something itself. Ahead is the clock of all, of ours.
func (t *seriesTable) exchange(alone bool, ahead time.Duration) *runstore.Exchange {
	t.mu.Lock()
	defer t.mu.Unlock()
	if alone {
		t.round = 0
		return nil
	}
	return &runstore.Exchange{Told: t.unshared(t.round == 0, ahead), Round: t.round}
}

// unshared are last values that were not told to the others yet, or with all of them those that there are.
func (t *seriesTable) unshared(all bool, ahead time.Duration) (told []runstore.Series) {
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

// take takes over what the others told, if they were asked. Ahead is our clock, of that of all.
func (t *seriesTable) take(exchange *runstore.Exchange, ahead time.Duration) {
	if exchange == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.round = exchange.Round
	for _, one := range exchange.News {
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
