package runsimtest

import (
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/kasmina"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/signing"
	"github.com/esper-lite/weatherlight/tamiyo"
)

// town is everything that a simulation consists of.
type town struct {
	*world
	defects Defects
	folder  string // see Scenario
	log     func(string)

	store      *store
	core       *kasmina.Core
	controller *tamiyo.Controller
	keyring    *signing.Keyring
	library    *library
	operator   *operator
	audit      *auditor
	instances  []*instance
	runs       []*run
	counts     Counts

	busDown, diskFull bool
	generation        int  // of the Redis; a flush begins another
	calm              bool // nothing goes wrong any more
	dry               bool // no blueprints are left to be germinated
	hushed            bool // trainers report no more
	seldom            bool // trainers report minutes apart

	// How rough it is, by seed. All are probabilities.
	crashiness, doubling, lateness, forgetfulness, flaws, orderLoss float64
	slow                                                            time.Duration // longest step of an instance
}

// Simulate runs a scenario and audits it.
func Simulate(s Scenario) Report {
	t := newTown(s)
	defer t.end()
	t.plan()
	chaos := 80 * t.slowest()
	t.run(chaos, func() bool { return false })
	t.soothe()
	t.run(10*time.Minute+200*t.slowest(), t.audit.atRest)
	t.audit.close()
	t.hushed = true
	t.run(max(silence, 8*t.slowest()), func() bool { return false })
	t.over = true
	t.audit.closeSilence()
	t.counts.Conflicts = t.store.conflicts
	return Report{Violations: t.audit.violations, Counts: t.counts, Digest: t.audit.digest}
}

// silence is how long all trainers are silent in the end.
const silence = 5 * time.Minute

func newTown(s Scenario) *town {
	w := newWorld(s.Seed)
	t := &town{world: w, defects: s.Defects, folder: s.Folder, log: s.Log, seldom: w.chance(0.25)}
	t.rough()
	t.keyring, _ = signing.NewKeyring("the secret of the simulation")
	t.store = newStore(func() time.Time { return t.now }, t.rand.Int64N)
	t.store.defects = s.Defects
	t.store.drops = func() bool { return !t.calm && t.chance(t.orderLoss) }
	t.audit = newAuditor(t)
	t.store.saved, t.store.due, t.store.forgotten = t.audit.saved, t.wake, t.audit.forgotten
	t.library, t.operator = newLibrary(t), &operator{town: t}
	t.core = kasmina.NewCore(kasmina.Config{
		Keyring: t.keyring, AutoFossilize: t.chance(0.3), ArtifactURL: pick(w, "", "http://127.0.0.1:7070"),
	})
	t.controller = tamiyo.NewController(tamiyo.Config{
		MaxGrowing: pick(w, 1, 2), Patience: 4, ProbationEpochs: 3,
	})
	skew := pick(w, 2*time.Millisecond, 200*time.Millisecond)
	for range pick(w, 2, 2, 3) {
		in := &instance{town: t, name: string(rune('a' + len(t.instances))), skew: t.between(-skew, skew)}
		t.instances = append(t.instances, in)
		in.boot()
	}
	for n := range pick(w, 1, 2, 3) {
		r := newRun(t, n)
		t.runs = append(t.runs, r)
		t.audit.came(r, r.trainer)
		t.after(t.between(0, r.interval), r.loop)
	}
	t.counts.Runs = len(t.runs)
	return t
}

// rough draws how rough the simulation is.
func (t *town) rough() {
	t.crashiness = pick(t.world, 0, 0.3, 1)
	t.doubling = pick(t.world, 0, 0.02, 0.2)
	t.lateness = pick(t.world, 0, 0.05, 0.3)
	t.forgetfulness = pick(t.world, 0, 0.01, 0.1)
	t.flaws = pick(t.world, 0, 0.2, 0.5)
	t.orderLoss = pick(t.world, 0, 0, 0.3)
	t.slow = pick(t.world, time.Millisecond, 20*time.Millisecond, 500*time.Millisecond)
}

// slowest is the longest interval of reports.
func (t *town) slowest() time.Duration {
	var longest time.Duration
	for _, r := range t.runs {
		longest = max(longest, r.interval)
	}
	return longest
}

// least is a time that is enough where trainers report often, and as many reports more.
func (t *town) least(wait time.Duration) time.Duration {
	if !t.seldom {
		return wait
	}
	return wait + time.Duration(wait.Minutes())*t.slowest()
}

// latency is how long a step takes. Now and then a process stands still.
func (t *town) latency() time.Duration {
	if t.calm {
		return t.between(50*time.Microsecond, time.Millisecond)
	}
	if t.chance(0.002) {
		return t.between(time.Second, 20*time.Second)
	}
	return t.between(50*time.Microsecond, t.slow)
}

// published takes a message of an instance off its hands.
func (t *town) published(message oona.Message) {
	t.audit.published(message)
	switch m := message.Payload.(type) {
	case *leyline.KernelPrefetchRequest:
		attributes := message.Attributes
		request := proto.Clone(m).(*leyline.KernelPrefetchRequest)
		generation := t.generation
		t.after(t.latency(), func() {
			if generation == t.generation {
				t.library.take(request, attributes)
			}
		})
	case *leyline.AdaptationCommand:
		if t.defects.Hasty {
			m = t.reissued(m, func(c *leyline.AdaptationCommand) { c.ExecutionDeadlineMs = 1 })
		}
		t.send(m, message.Attributes, t.now, "tamiyo")
	}
}

// soothe ends what goes wrong, and has growth come to its end.
func (t *town) soothe() {
	t.calm, t.busDown, t.diskFull, t.dry = true, false, false, true
	for _, r := range t.runs {
		r.settle()
	}
	// What was late or in doubt settles first; then the operator lets go.
	for _, wait := range []time.Duration{t.least(2 * time.Minute), t.least(4 * time.Minute)} {
		t.after(wait, func() { t.operator.relieve() })
	}
	t.audit.quiet()
}

// end lets go of what still stands between two steps.
func (t *town) end() {
	t.over = true
	for _, r := range t.runs {
		r.trainer.end()
	}
	for _, in := range t.instances {
		if in.life == nil {
			continue
		}
		in.life.dead = true
		for task := range in.life.tasks {
			task.stop()
		}
		for _, task := range in.life.waiting {
			task.stop()
		}
	}
}
