package runsimtest

import (
	"time"

	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/weatherlight/internal/control"
)

// mishap is something that befalls the town now and then.
type mishap struct {
	name   string
	likely int // parts of all
	befall func(t *town)
}

// mishaps are those of a town. What is listed once for a hundred happens about
// once in a simulation.
func mishaps() []mishap {
	return []mishap{
		{"outage", 6, (*town).outage},
		{"flush", 2, (*town).flush},
		{"record lost", 4, (*town).loseRecord},
		{"instance killed", 12, (*town).killInstance},
		{"trainer crash", 8, func(t *town) { t.anyRun().crash() }},
		{"second trainer", 4, func(t *town) { t.anyRun().intrude() }},
		{"silence", 4, func(t *town) { t.anyRun().fallSilent() }},
		{"captured report", 10, func(t *town) { t.anyRun().replay() }},
		{"disk full", 3, (*town).fillDisk},
		{"command", 40, func(t *town) { t.operator.act() }},
		{"garbage", 6, func(t *town) { t.operator.babble() }},
		{"emergency", 3, func(t *town) { t.operator.alarm() }},
	}
}

// plan has mishaps befall the town until it is calm, as many as the seed says.
func (t *town) plan() {
	list := mishaps()
	t.rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	list = list[:3+t.rand.IntN(len(list)-2)] // not everything happens everywhere
	total := 0
	for _, m := range list {
		total += m.likely
	}
	often := t.slowest() * time.Duration(pick(t.world, 1, 3, 10)) / 2
	var next func()
	next = func() {
		if t.calm {
			return
		}
		drawn := t.rand.IntN(total)
		for _, m := range list {
			if drawn -= m.likely; drawn < 0 {
				t.audit.tell("mishap: %s", m.name)
				m.befall(t)
				break
			}
		}
		t.after(t.between(0, 2*often), next)
	}
	t.after(t.between(0, 2*often), next)
}

func (t *town) anyRun() *run { return t.runs[t.rand.IntN(len(t.runs))] }

// outage takes the bus away for a while.
func (t *town) outage() {
	if t.busDown {
		return
	}
	t.counts.Outages++
	t.busDown = true
	t.after(t.between(50*time.Millisecond, pick(t.world, time.Second, 10*time.Second, time.Minute)), func() { t.busDown = false })
}

// flush empties Redis: records, streams, and what lies on them.
func (t *town) flush() {
	t.counts.Flushes++
	t.generation++
	t.store.flush()
	t.audit.flushed()
}

// loseRecord loses one record, or one run's place in the index.
func (t *town) loseRecord() {
	t.counts.Losses++
	r := t.anyRun()
	switch t.rand.IntN(4) {
	case 0:
		t.store.lose(oona.RecordKey{Part: control.PartKasmina, Run: r.name})
	case 1:
		t.store.lose(oona.RecordKey{Part: control.PartTamiyo, Run: r.name})
	case 2:
		delete(t.store.index[control.PartKasmina], r.name)
	default:
		delete(t.store.streams, r.name)
	}
}

func (t *town) killInstance() {
	in := t.instances[t.rand.IntN(len(t.instances))]
	if in.life != nil {
		in.life.die()
	}
}

func (t *town) fillDisk() {
	t.diskFull = true
	t.after(t.between(time.Second, 30*time.Second), func() { t.diskFull = false })
}
