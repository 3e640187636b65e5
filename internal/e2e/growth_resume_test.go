package e2e

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/trainer"
)

// TestKilledGoTrainerGoesOnInANewProcess kills the reference trainer while a seed
// blends. Another process takes up the checkpoint, keeps that seed and trains the whole
// network on, until it is killed, too. In a third one a rollback gives the host back as
// it was before the first one blended the seed, bit by bit. Only there does it need the
// snapshot in the checkpoint: while a seed blends the host rests, and one taken anew is
// the same.
func TestKilledGoTrainerGoesOnInANewProcess(t *testing.T) {
	begin(t)
	w := newWorld(t)
	// A ramp of several reports, so that the kill meets it.
	w.environ = append(w.environ, "TEZZERET_SLOT="+strconv.Itoa(goTrainerSlot), "KASMINA_ALPHA_STEPS=400")
	w.bootForged()
	folder := t.TempDir()
	p, seed := w.growKilled("go-1", folder)
	before := p.host(changeCheckpoint(trainer.BlendIn, seed))
	p.changed(seed, trainer.Tune)
	p.awaitReports(2)
	p = p.replaced(w)
	p.mustHaveResumed(seed)
	if p.host(lastCheckpoint) == before {
		t.Error("the host has not trained since the seed began to blend: there is nothing to give back")
	}
	w.rollback("go-1", seed)
	p.changed(seed, trainer.Rollback)
	if after := p.host(changeCheckpoint(trainer.Rollback, seed)); after != before {
		t.Errorf("the host before the seed, and after the rollback:\n%.300s\n%.300s", before, after)
	}
	p.awaitReports(1)
	if stage, there := p.report().Seeds[seed]; there {
		t.Errorf("%s was rolled back and is %s", seed, stage)
	}
	eventually(t, "an event says that the seed was rolled back", patience, func() bool {
		return slices.ContainsFunc(w.told(), func(e event) bool { return e.tells(seed, "rolled_back") })
	})
	w.mustHaveNoDeadLetters()
	p.end()
	w.stop()
}

// growKilled kills a trainer while a seed blends, and resumes it, until such a seed is
// kept: not every blueprint helps. It returns the process that kept it.
func (w *world) growKilled(run, folder string) (*goTrainer, string) {
	w.t.Helper()
	p := w.goTrainer(run, folder, false)
	for deadline := time.Now().Add(growth); time.Now().Before(deadline); {
		seed := p.await(growth, blending)
		p = p.replaced(w)
		p.mustHaveResumed(seed)
		if p.isKept(seed) {
			p.mustBeLegal()
			mustBeRecorded(w.t, w, run, seed, "FOSSILIZED")
			return p, seed
		}
	}
	w.t.Fatalf("no seed was kept within %s", growth)
	return nil, ""
}

// replaced kills a trainer, and starts another from its checkpoint.
func (p *goTrainer) replaced(w *world) *goTrainer {
	p.t.Helper()
	p.mustDieOfKill()
	p.mustBeLegal()
	return w.goTrainer(p.run, p.folder, true)
}

// mustHaveResumed checks that the first report of a process has a seed already.
func (p *goTrainer) mustHaveResumed(seed string) {
	p.t.Helper()
	p.awaitReports(1)
	first := p.all("report")[0].Seeds
	if _, there := first[seed]; !there {
		p.t.Fatalf("%s was there when its trainer was killed, the next process has %v", seed, first)
	}
}

// isKept waits until a seed is kept, or gone.
func (p *goTrainer) isKept(seed string) (kept bool) {
	p.t.Helper()
	eventually(p.t, seed+" is kept or dropped", growth, func() bool {
		p.mustRun()
		kept = p.hasChanged(seed, trainer.Keep)
		return kept || p.hasChanged(seed, trainer.Drop)
	})
	return kept
}

// rollback has the operator roll a seed back, in a command that is made by hand.
func (w *world) rollback(run, seed string) {
	w.t.Helper()
	const kindRollback = 2
	now := time.Now()
	command := stringField(varintField(nil, 1, 1), 2, "rollback-"+seed) // version, id
	command = stringField(varintField(command, 3, kindRollback), 4, seed)
	stamp := varintField(varintField(nil, 1, uint64(now.Unix())), 2, uint64(now.Nanosecond()))
	command = stringField(bytesField(command, 6, stamp), 7, "operator")
	command = bytesField(command, 20, annotation("training_run_id", run))
	// The signature is the one part that it does not cover.
	command = bytesField(command, 20, annotation("signature", sign(secret, command)))
	raw := envelope(typeCommand, command)
	w.bus.do(addCommand(streamNormal, raw, sign(secret, raw))...)
}

func annotation(name, text string) []byte { return stringField(stringField(nil, 1, name), 2, text) }
