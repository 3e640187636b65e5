package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/redistest"
)

const growthKills = 20

// TestGrowthSurvivesKillsOfEveryInstance kills one of two instances at random
// moments of three runs, twenty times. The trainers are not killed, and notice nothing.
func TestGrowthSurvivesKillsOfEveryInstance(t *testing.T) {
	begin(t)
	first := newWorld(t, redistest.AOF()...)
	first.bootForged()
	other := first.second()
	other.bootForged()
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	trainers := make([]*pythonTrainer, 3)
	for i := range trainers {
		trainers[i] = first.trainer(fmt.Sprintf("killed-%d", i), "--interval", "0.25")
	}
	trainers[0].await(growth, training)
	during := 0
	for range growthKills {
		victim := []*world{first, other}[random.IntN(2)]
		<-time.After(time.Duration(random.IntN(250)) * time.Millisecond) // somewhere between two reports
		victim.process.kill()
		if slices.ContainsFunc(trainers, (*pythonTrainer).growing) {
			during++
		}
		<-time.After(time.Duration(random.IntN(250)) * time.Millisecond)
		victim.boot()
	}
	t.Logf("%d kills fell into the growth of a seed", during)
	if during < growthKills/4 {
		t.Errorf("only %d of %d kills fell into the growth of a seed", during, growthKills)
	}
	for _, p := range trainers {
		p.await(growth, fossilized)
		p.awaitReports(2)
		p.mustBeLegal()
	}
	first.settled(streamNormal, patience)
	first.mustHaveNoDeadLetters()
	for _, p := range trainers {
		p.end()
	}
	first.stop()
	other.stop()
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
