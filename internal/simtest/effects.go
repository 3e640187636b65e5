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
	contents, err := w.contents()
	if err != nil {
		w.violate("the streams cannot be read: %v", err)
		return
	}
	causes := causesIn(contents)
	for _, name := range slices.Sorted(maps.Keys(w.acked)) {
		w.kept(name, contents[name])
	}
	for _, step := range w.steps {
		for _, def := range step.Workers {
			if def.Stream != "" {
				w.drained(def.Stream, contents[def.Stream])
				w.once(def.Stream, contents[def.Stream], causes)
			}
		}
	}
}

// contents are the entries of every stream.
func (w *world) contents() (map[string][]Entry, error) {
	names, err := w.bus.streams()
	contents := make(map[string][]Entry, len(names))
	for _, name := range names {
		if err == nil {
			contents[name], err = w.bus.entries(name)
		}
	}
	return contents, err
}

// causesIn counts, by entry, the answers and dead letters that name it as their cause.
func causesIn(contents map[string][]Entry) map[Cause][]Message {
	causes := make(map[Cause][]Message)
	for _, name := range slices.Sorted(maps.Keys(contents)) {
		for _, e := range contents[name] {
			if e.Cause != (Cause{}) {
				causes[e.Cause] = append(causes[e.Cause], e.Message)
			}
		}
	}
	return causes
}

func (w *world) kept(stream string, entries []Entry) {
	there := make(map[string]bool)
	for _, e := range entries {
		there[e.Name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(w.acked[stream])) {
		if !there[name] {
			w.violate("%s: %s was acknowledged and is lost", stream, name)
		}
	}
}

func (w *world) drained(stream string, entries []Entry) {
	delivered, err := w.bus.delivered(stream, groupName)
	if err != nil || len(entries) > 0 && delivered != entries[len(entries)-1].ID {
		w.violate("%s is not drained: %d entries, read to %s, %v", stream, len(entries), delivered, err)
	}
	if pending, err := w.bus.pending(stream, groupName); err != nil || len(pending) > 0 {
		w.violate("%s is not drained: %v, pending %v", stream, err, pending)
	}
}

func (w *world) once(stream string, entries []Entry, causes map[Cause][]Message) {
	fates := make(map[string]*fate)
	w.counts.Messages += len(entries)
	for _, e := range entries {
		if fates[e.Name] == nil {
			fates[e.Name] = &fate{}
		}
		c := Cause{Stream: stream, Name: e.Name, ID: e.ID}
		w.settledOnce(fates[e.Name], causes[c], c)
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
		w.violate("%s: entry %s (%s) was settled %d times", c.Stream, c.ID, c.Name, len(results))
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
