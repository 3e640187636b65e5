package simtest

import (
	"maps"
	"slices"
)

// fate is what became of one name in one stream.
type fate struct {
	entries           []ID
	answered, givenUp int
}

// settledAll reads the streams and checks that everything that was acknowledged is there, has taken effect once, and
// that every entry is settled exactly once.
func (w *world) settledAll() {
	w.bus.mu.Lock()
	defer w.bus.mu.Unlock()
	causes := w.causes()
	for _, name := range slices.Sorted(maps.Keys(w.acked)) {
		w.kept(name)
	}
	for _, step := range w.steps {
		for _, def := range step.Workers {
			if def.Stream != "" {
				w.drained(def.Stream)
				w.once(def.Stream, causes)
			}
		}
	}
}

// causes counts, by entry, the answers and dead letters that name it as their cause.
func (w *world) causes() map[Cause][]Message {
	causes := make(map[Cause][]Message)
	for _, name := range slices.Sorted(maps.Keys(w.bus.streams)) {
		for _, slot := range w.bus.streams[name].entries {
			if m := slot.message; m.Cause != (Cause{}) {
				causes[m.Cause] = append(causes[m.Cause], m)
			}
		}
	}
	return causes
}

func (w *world) kept(stream string) {
	there := make(map[string]bool)
	for _, slot := range w.bus.stream(stream).entries {
		there[slot.message.Name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(w.acked[stream])) {
		if !there[name] {
			w.violate("%s: %s was acknowledged and is lost", stream, name)
		}
	}
}

func (w *world) drained(stream string) {
	s := w.bus.stream(stream)
	g := s.groups[groupName]
	if g == nil || int(g.delivered) != len(s.entries) || len(g.pending) > 0 {
		w.violate("%s is not drained: %d entries, group %+v", stream, len(s.entries), g)
	}
}

func (w *world) once(stream string, causes map[Cause][]Message) {
	fates := make(map[string]*fate)
	entries := w.bus.stream(stream).entries
	w.counts.Messages += len(entries)
	for i, slot := range entries {
		name := slot.message.Name
		if fates[name] == nil {
			fates[name] = &fate{}
		}
		w.settledOnce(fates[name], causes[Cause{stream, name, ID(i + 1)}], Cause{stream, name, ID(i + 1)})
	}
	for _, name := range slices.Sorted(maps.Keys(fates)) {
		if f := fates[name]; f.answered > 1 || f.answered+f.givenUp == 0 {
			w.violate("%s: %s took effect %d times, entries %v, given up %d", stream, name, f.answered, f.entries, f.givenUp)
		}
	}
}

func (w *world) settledOnce(f *fate, results []Message, c Cause) {
	f.entries = append(f.entries, c.ID)
	if len(results) != 1 {
		w.violate("%s: entry %d (%s) was settled %d times", c.Stream, c.ID, c.Name, len(results))
	}
	for _, m := range results {
		switch {
		case m.Stream != deadLetters:
			f.answered++
			w.counts.Answers++
		case m.Reason != reasonReplay:
			f.givenUp++
			w.counts.Buried++
		}
	}
}
