package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/redistest"
)

const (
	// growthKills is how often each of two instances is killed.
	growthKills = 10
	// mayMiss is how many of the kills may miss the growth of a seed: the last one
	// that grows may be kept in the moment before.
	mayMiss = 3
)

// TestGrowthSurvivesKillsOfEveryInstance kills two instances ten times each, in
// random order and at random moments while seeds grow. The trainers are not killed,
// and notice nothing: the seed that each keeps is the one that it had all along.
func TestGrowthSurvivesKillsOfEveryInstance(t *testing.T) {
	begin(t)
	first := newWorld(t, redistest.AOF()...)
	first.bootForged()
	other := first.second()
	other.bootForged()
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	grown := &growers{world: first, fell: map[string]int{}}
	victims := slices.Repeat([]*world{first, other}, growthKills)
	random.Shuffle(len(victims), func(i, j int) { victims[i], victims[j] = victims[j], victims[i] })
	for _, victim := range victims {
		grown.awaitGrowth()
		<-time.After(time.Duration(random.IntN(250)) * time.Millisecond) // somewhere between two reports
		victim.process.mustDieOfKill()
		grown.count()
		<-time.After(time.Duration(random.IntN(250)) * time.Millisecond)
		victim.boot()
	}
	grown.mustHaveBeenHit(len(victims))
	for _, p := range grown.trainers {
		p.await(growth, fossilized)
		p.awaitReports(2)
		p.mustBeLegal()
		p.mustHaveKeptItsSeed()
	}
	first.settled(streamNormal, patience)
	first.mustHaveNoDeadLetters()
	for _, p := range grown.trainers {
		p.end()
	}
	first.stop()
	other.stop()
}

// growers are trainers of whom one at least grows a seed whenever that is asked for.
type growers struct {
	world    *world
	trainers []*trainerProcess
	during   int            // kills while a seed was growing
	fell     map[string]int // stages of the seeds that grew then
}

// awaitGrowth starts another trainer when no seed grows. Its seeds blend for ten
// reports, longer than it takes to kill an instance and to boot it again.
func (g *growers) awaitGrowth() {
	g.world.t.Helper()
	if slices.ContainsFunc(g.trainers, (*trainerProcess).growing) {
		return
	}
	p := g.world.trainer(fmt.Sprintf("killed-%d", len(g.trainers)), "--interval", "0.25", "--steps", "2")
	g.trainers = append(g.trainers, p)
	p.await(growth, training)
}

// count looks at what grew when an instance was killed.
func (g *growers) count() {
	g.world.t.Helper()
	if slices.ContainsFunc(g.trainers, (*trainerProcess).growing) {
		g.during++
	}
	for _, p := range g.trainers {
		for _, stage := range p.report().Seeds {
			g.fell[stage]++
		}
	}
}

// mustHaveBeenHit wants nearly all kills in the growth of a seed, and some at its
// beginning as well as in its blend.
func (g *growers) mustHaveBeenHit(kills int) {
	t := g.world.t
	t.Helper()
	t.Logf("%d of %d kills fell into the growth of a seed of %d trainers: %v", g.during, kills, len(g.trainers), g.fell)
	if g.during < kills-mayMiss {
		t.Errorf("only %d of %d kills fell into the growth of a seed", g.during, kills)
	}
	for _, stage := range []string{training, blending} {
		if g.fell[stage] == 0 {
			t.Errorf("no kill met a seed in %s", stage)
		}
	}
}

// mustDieOfKill kills a process, which must have run until then.
func (p *process) mustDieOfKill() {
	p.t.Helper()
	p.kill()
	if status, _ := p.cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGKILL {
		p.t.Errorf("%s ended by itself before it was killed, exit code %d", p.cmd.Path, p.Code())
	}
}

// mustHaveKeptItsSeed checks that the first seed that was attached is the one that is
// kept: others may grow behind it, none takes its place.
func (p *trainerProcess) mustHaveKeptItsSeed() {
	p.t.Helper()
	first := p.all("attached")[0].Seed
	if slices.ContainsFunc(p.all("dropped"), func(e trainerEvent) bool { return e.Seed == first }) {
		p.t.Errorf("%s: %s was dropped", p.run, first)
	}
	if stage := p.report().Seeds[first]; stage != fossilized {
		p.t.Errorf("%s: %s was attached first, and is %q in the end", p.run, first, stage)
	}
}

// TestGrowthSurvivesARestartOfRedis: with its data it comes back as it was, and
// the seed goes on.
func TestGrowthSurvivesARestartOfRedis(t *testing.T) {
	t.Parallel()
	for _, stage := range []string{training, blending} {
		t.Run(stage, func(t *testing.T) {
			begin(t)
			w := newWorld(t, redistest.AOF()...)
			w.bootForged()
			p := w.trainer("restarted-1")
			seed := p.await(growth, stage)
			w.redis.Restart()
			if kept := p.await(growth, fossilized); kept != seed {
				t.Errorf("%s was grafted when Redis ended, %s was kept", seed, kept)
			}
			p.mustBeLegal()
			w.mustHaveNoDeadLetters()
			p.end()
			w.stop()
		})
	}
}

// TestGrowthSurvivesAFlushOfRedis: everything that the service knew of the run is
// gone, and comes back from the trainer's next report.
func TestGrowthSurvivesAFlushOfRedis(t *testing.T) {
	t.Parallel()
	for _, stage := range []string{training, blending, shadowing} {
		t.Run(stage, func(t *testing.T) {
			begin(t)
			w := newWorld(t)
			w.bootForged()
			p := w.trainer("flushed-1")
			seed := p.await(growth, stage)
			w.bus.do("FLUSHALL")
			if kept := p.await(growth, fossilized); kept != seed {
				t.Errorf("%s was grafted at the flush, %s was kept", seed, kept)
			}
			p.mustBeLegal()
			mustBeRecorded(t, w, "flushed-1", seed, "FOSSILIZED")
			w.settled(streamNormal, patience)
			w.mustHaveNoDeadLetters()
			p.end()
			w.stop()
		})
	}
}

// TestKilledTrainerGoesOnFromItsCheckpoint, with the seed that it had.
func TestKilledTrainerGoesOnFromItsCheckpoint(t *testing.T) {
	begin(t)
	w := newWorld(t)
	w.bootForged()
	checkpoint := filepath.Join(t.TempDir(), "checkpoint.json")
	p := w.trainer("resumed-1", "--checkpoint", checkpoint)
	for _, stage := range []string{training, blending, probationary} {
		seed := p.await(growth, stage)
		p.kill()
		p.mustBeLegal("other_trainer") // what was ordered of those before it
		former := p.id()
		p = w.trainer("resumed-1", "--checkpoint", checkpoint, "--resume")
		eventually(t, "the trainer has resumed", patience, func() bool { return len(p.all("resumed")) == 1 })
		if resumed := p.all("resumed")[0]; resumed.Resumes != former {
			t.Errorf("it resumes %s, killed was %s", resumed.Resumes, former)
		}
		p.awaitReports(2)
		if _, there := p.report().Seeds[seed]; !there {
			t.Errorf("killed in %s: %s is gone, there is %v", stage, seed, p.report().Seeds)
		}
	}
	p.await(growth, fossilized)
	p.mustBeLegal("other_trainer")
	w.mustHaveNoDeadLetters()
	p.end()
	w.stop()
}

// TestTrainerThatGoesBackToAnOldCheckpointIsBelieved: a seed that was attached
// after it is gone, which speaks against nothing, and another one grows.
func TestTrainerThatGoesBackToAnOldCheckpointIsBelieved(t *testing.T) {
	begin(t)
	w := newWorld(t)
	w.bootForged()
	checkpoint := filepath.Join(t.TempDir(), "checkpoint.json")
	p := w.trainer("back-1", "--checkpoint", checkpoint)
	p.awaitReports(1)
	old, err := os.ReadFile(checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	lost := p.await(growth, blending)
	p.kill()
	if err := os.WriteFile(checkpoint, old, 0o600); err != nil {
		t.Fatal(err)
	}
	p = w.trainer("back-1", "--checkpoint", checkpoint, "--resume")
	p.await(growth, fossilized)
	p.mustBeLegal("other_trainer")
	if !slices.ContainsFunc(w.told(), func(e event) bool { return e.tells("trainer_restarted") }) {
		t.Errorf("nobody tells that %s ended because its trainer was restarted", lost)
	}
	w.mustHaveNoDeadLetters()
	p.end()
	w.stop()
}
