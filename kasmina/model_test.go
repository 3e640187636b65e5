package kasmina

import (
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/esper-lite/weatherlight/leyline"
)

// bubble hides the parts of testing.T that must not be used in virtual time.
type bubble struct{ testing.TB }

// Random commands, answers, evidence and time never give an illegal move, a
// seed that is stuck, or a seed that is out but still attached.
func TestNoSequenceOfEventsBreaksTheLifecycle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(bubble{t}, func(rt *rapid.T) { playRandomly(t, rt) })
	})
}

func playRandomly(t *testing.T, rt *rapid.T) {
	w := newWorld(t, nil)
	defer w.stop()
	p := player{w: w, rt: rt, stage: map[string]leyline.SeedLifecycleStage{}}
	rt.Repeat(map[string]func(*rapid.T){
		"command":  p.command,
		"answer":   p.answer,
		"refuse":   p.refuse,
		"observe":  p.observe,
		"ramp":     p.ramp,
		"grow":     p.grow,
		"wait":     p.wait,
		"finalize": p.finalize,
		"":         p.check,
	})
	p.comesToRest()
}

type player struct {
	w     *world
	rt    *rapid.T
	epoch uint32
	stage map[string]leyline.SeedLifecycleStage // last told
}

func (p *player) seedID(rt *rapid.T) string {
	return rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "seed")
}

func (p *player) command(rt *rapid.T) {
	op := rapid.SampledFrom([]leyline.SeedOperation{
		opGerminate, opGerminate, opGerminate, opFossilize, opFossilize, opCull, opCancel,
		leyline.SeedOperation_SEED_OP_EVALUATE,
	}).Draw(rt, "operation")
	change := rapid.SampledFrom([]func(*leyline.AdaptationCommand){
		func(*leyline.AdaptationCommand) {},
		func(*leyline.AdaptationCommand) {},
		commandOf(leyline.CommandType_COMMAND_PAUSE),
		func(c *leyline.AdaptationCommand) {
			c.CommandType, c.Payload = leyline.CommandType_COMMAND_PAUSE, nil
			c.Annotations["resume"] = "true"
		},
		annotate("mesh_host_layers", "head"),
		annotate("blend_mode", "CHANNEL"),
		issuedIn(-time.Hour),
	}).Draw(rt, "change")
	_ = p.w.manager.HandleCommand(p.w.ctx, p.w.command(op, p.seedID(rt), change))
	settle()
}

func (p *player) request(rt *rapid.T) *leyline.KernelPrefetchRequest {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if len(p.w.requests) == 0 {
		return &leyline.KernelPrefetchRequest{RequestId: "unknown"}
	}
	latest := p.w.requests[max(0, len(p.w.requests)-3):]
	return rapid.SampledFrom(latest).Draw(rt, "request")
}

func (p *player) answer(rt *rapid.T) {
	ready := p.w.ready(p.request(rt))
	if rapid.IntRange(0, 5).Draw(rt, "spoil") == 0 {
		ready.Checksum = "bad"
	}
	if err := p.w.manager.HandleReady(p.w.ctx, ready); err != nil {
		rt.Fatal(err)
	}
	settle()
}

func (p *player) refuse(rt *rapid.T) {
	refusal := &leyline.KernelArtifactError{RequestId: p.request(rt).GetRequestId(), Reason: "missing_artifact"}
	if err := p.w.manager.HandleError(p.w.ctx, refusal); err != nil {
		rt.Fatal(err)
	}
}

func (p *player) observe(rt *rapid.T) {
	p.epoch++
	evidence := goodEvidence()
	evidence["train_loss"] = 1 / float32(p.epoch)
	spoil := rapid.SampledFrom([]string{
		"", "", "", "", "", "", "", "", "loss_after", "host_gradient_max", "gradient_norm",
	}).Draw(rt, "spoil")
	if spoil != "" {
		evidence[spoil] = rapid.SampledFrom([]float32{0, 1.5, float32(math.NaN())}).Draw(rt, "value")
	}
	if err := p.w.graft.Observe(p.w.ctx, p.epoch, p.seedID(rt), evidence); err != nil {
		rt.Fatal(err)
	}
}

func (p *player) ramp(rt *rapid.T) {
	id := p.seedID(rt)
	for range rapid.IntRange(1, 20).Draw(rt, "batches") {
		p.w.graft.AdvanceAlpha(id)
	}
}

// grow is a run of good epochs, so that late stages are met often.
func (p *player) grow(rt *rapid.T) {
	id := p.seedID(rt)
	for range rapid.IntRange(5, 25).Draw(rt, "epochs") {
		p.epoch++
		for range 10 {
			p.w.graft.AdvanceAlpha(id)
		}
		evidence := goodEvidence()
		evidence["train_loss"] = 1 / float32(p.epoch)
		if err := p.w.graft.Observe(p.w.ctx, p.epoch, id, evidence); err != nil {
			rt.Fatal(err)
		}
	}
}

func (p *player) wait(rt *rapid.T) {
	wait(time.Duration(rapid.IntRange(1, 40).Draw(rt, "seconds")) * time.Second)
}

func (p *player) finalize(*rapid.T) { _ = p.w.manager.Finalize(p.w.ctx, -1) }

// check follows the told stages through the table, and compares the registry
// with what is attached.
func (p *player) check(rt *rapid.T) {
	for _, event := range events(p.w.emitted(), "seed_stage") {
		id := event.GetAttributes()["seed_id"]
		next := leyline.SeedLifecycleStage(leyline.SeedLifecycleStage_value[event.GetAttributes()["stage"]])
		before, known := p.stage[id]
		if !known || before == stageTerminated { // a new life begins in DORMANT
			before = stageDormant
		}
		if next != before && !slices.Contains(successors(before), next) {
			rt.Fatalf("seed %s went from %s to %s", id, before, next)
		}
		p.stage[id] = next
	}
	attached := map[string]leyline.SeedLifecycleStage{}
	for _, state := range p.w.graft.Seeds() {
		attached[state.GetSeedId()] = state.GetStage()
	}
	for _, state := range p.w.manager.SeedStates() {
		stage, is := attached[state.GetSeedId()]
		delete(attached, state.GetSeedId())
		should := state.GetStage() >= stageTraining && state.GetStage() <= stageFossilized
		if is != should || (is && stage != state.GetStage()) {
			rt.Fatalf("seed %s is in %s, attached %v in %s", state.GetSeedId(), state.GetStage(), is, stage)
		}
	}
	if len(attached) != 0 {
		rt.Fatalf("attached without being registered: %v", attached)
	}
}

// comesToRest lets time pass and epochs end: every seed is then kept, or gone.
func (p *player) comesToRest() {
	for _, id := range []string{"a", "b"} {
		_ = p.w.manager.HandleCommand(p.w.ctx, p.w.command(opGerminate, id, resumed))
	}
	for range 120 {
		p.epoch++
		for _, id := range []string{"a", "b"} {
			_ = p.w.graft.Observe(p.w.ctx, p.epoch, id, map[string]float32{
				"loss_before": 1, "loss_after": 1, "gradient_norm": 1, "train_loss": 1,
			})
		}
	}
	wait(3 * time.Minute) // two timeouts at their longest and an embargo
	for _, state := range p.w.manager.SeedStates() {
		if state.GetStage() != stageFossilized {
			p.rt.Fatalf("seed %s is stuck in %s", state.GetSeedId(), state.GetStage())
		}
	}
}

func resumed(c *leyline.AdaptationCommand) {
	c.CommandType, c.Payload = leyline.CommandType_COMMAND_PAUSE, nil
	c.Annotations["resume"] = "true"
}
