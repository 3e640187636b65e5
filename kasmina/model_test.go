package kasmina

import (
	"encoding/json"
	"math"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"pgregory.net/rapid"

	"github.com/esper-lite/weatherlight/kasmina/internal/lifecycle"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

// Messages that are lost, doubled, reordered, late or garbage, in any sequence,
// never give an illegal move, an order number of two meanings, a kernel that
// nobody announced, a changed input or a seed that is stuck.
func TestNoSequenceOfMessagesBreaksARun(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) { playRandomly(t, rt) })
}

func playRandomly(t *testing.T, rt *rapid.T) {
	auto := rapid.Bool().Draw(rt, "auto fossilize")
	w := newWorld(inRapid{t, rt}, func(c *Config) { c.MaxCommands, c.AutoFossilize = 16, auto })
	w.hurried = true
	p := &player{w: w, stage: map[string]leyline.SeedLifecycleStage{}}
	rt.Repeat(map[string]func(*rapid.T){
		"command":  p.command,
		"again":    p.again,
		"answer":   p.answer,
		"report":   p.report,
		"old":      p.oldReport,
		"grow":     p.grow,
		"garbage":  p.garbage,
		"wait":     p.wait,
		"restart":  p.restart,
		"flush":    p.flush,
		"signal":   p.signal,
		"":         p.check,
		"forgets":  p.trainerForgets,
		"spoil":    p.spoil,
		"failures": p.attachFails,
		"plant":    p.plant,
		"plant 2":  p.plant,
		"grow 2":   p.grow,
		"lapse":    p.lapse,
		"deaf":     p.deaf,
		"unasked":  p.unasked,
	})
	p.comesToRest(rt)
}

type player struct {
	w        *world
	reports  []Report
	sent     []*leyline.AdaptationCommand
	stage    map[string]leyline.SeedLifecycleStage // last told
	trainers int
}

func (p *player) seedID(rt *rapid.T) string {
	return rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "seed")
}

func (p *player) command(rt *rapid.T) {
	op := rapid.SampledFrom([]leyline.SeedOperation{
		opGerminate, opGerminate, opGerminate, opGerminate, opTrain, opGraft, opStabilize, opEvaluate,
		opTune, opFossilize, opFossilize, opCull, opCancel, 0,
	}).Draw(rt, "operation")
	id := p.seedID(rt)
	level := rapid.SampledFrom([]string{"0", "3", "4"}).Draw(rt, "level")
	change := rapid.SampledFrom([]change{
		func(*leyline.AdaptationCommand) {}, func(*leyline.AdaptationCommand) {},
		ofType(leyline.CommandType_COMMAND_PAUSE),
		ofType(leyline.CommandType_COMMAND_STRUCTURAL_PRUNING),
		func(c *leyline.AdaptationCommand) {
			ofType(leyline.CommandType_COMMAND_PAUSE)(c)
			c.Annotations["resume"] = "true"
		},
		func(c *leyline.AdaptationCommand) {
			ofType(leyline.CommandType_COMMAND_EMERGENCY)(c)
			c.Annotations["level"] = level
		},
		func(c *leyline.AdaptationCommand) {
			c.CommandType = leyline.CommandType_COMMAND_ROLLBACK
			c.Payload = &leyline.AdaptationCommand_RollbackPayload{RollbackPayload: &structpb.Struct{
				Fields: map[string]*structpb.Value{"seed_id": structpb.NewStringValue(id)},
			}}
		},
		func(c *leyline.AdaptationCommand) {
			c.CommandType = leyline.CommandType_COMMAND_CIRCUIT_BREAKER
			c.Payload = &leyline.AdaptationCommand_CircuitBreaker{CircuitBreaker: &leyline.CommandCircuitBreaker{
				DesiredState: leyline.CircuitBreakerState(rapid.IntRange(0, 4).Draw(rt, "state")),
			}}
		},
		annotate("mesh_host_layers", "head"), annotate("blend_mode", "CHANNEL"), annotate("slot", "other"),
		within(3000), issued(p.w.now.Add(-30 * time.Second)),
	}).Draw(rt, "change")
	command := p.w.command(op, id, change)
	p.sent = append(p.sent, command)
	p.w.send(command)
}

// again delivers a command once more, or another one of the same id.
func (p *player) again(rt *rapid.T) {
	if len(p.sent) == 0 {
		return
	}
	command := proto.CloneOf(rapid.SampledFrom(p.sent).Draw(rt, "command"))
	if rapid.Bool().Draw(rt, "forge") {
		command.TargetSeedId = p.seedID(rt)
		if err := p.w.keyring.SignCommand(command); err != nil {
			rt.Fatal(err)
		}
	}
	p.w.send(command)
}

func (p *player) answer(rt *rapid.T) {
	request := &leyline.KernelPrefetchRequest{RequestId: "prefetch-of-another"}
	if n := len(p.w.requests); n > 0 {
		request = p.w.requests[rapid.IntRange(max(0, n-4), n-1).Draw(rt, "request")].Request
	}
	ready := p.w.ready(request)
	switch rapid.IntRange(0, 12).Draw(rt, "spoil") {
	case 0:
		ready.Ready.Checksum = "bad"
	case 1:
		ready.Ready.GuardDigest = ""
	case 2:
		ready.Attributes[trainer.AttributeFormat] = "pt"
	case 3:
		ready.Ready = nil
	case 4:
		p.w.decide(Refusal{&leyline.KernelArtifactError{RequestId: request.GetRequestId(), Reason: "missing"}})
		return
	}
	p.w.decide(ready)
}

// plant germinates a seed as it should be, so that late stages are met often.
func (p *player) plant(rt *rapid.T) {
	p.w.trainer.spoil = nil
	p.w.report()
	if p.w.send(p.w.command(opGerminate, p.seedID(rt))) != nil || len(p.w.requests) == 0 {
		return
	}
	p.w.decide(p.w.ready(p.w.lastRequest()))
	p.w.report()
}

// report takes some of the orders to the trainer and its report to the core, or
// loses either.
func (p *player) report(rt *rapid.T) {
	p.w.now = p.w.now.Add(time.Duration(rapid.IntRange(1, 3000).Draw(rt, "ms")) * time.Millisecond)
	if rapid.IntRange(0, 3).Draw(rt, "orders arrive") > 0 {
		p.w.trainer.obey(p.w.orders)
	}
	report := p.w.trainer.report(p.w.now)
	p.reports = append(p.reports, report)
	if rapid.IntRange(0, 3).Draw(rt, "report arrives") > 0 {
		p.w.decide(report)
	}
}

func (p *player) oldReport(rt *rapid.T) {
	if len(p.reports) == 0 {
		return
	}
	report := rapid.SampledFrom(p.reports[max(0, len(p.reports)-8):]).Draw(rt, "report")
	if rapid.Bool().Draw(rt, "stripped") {
		report.Protocol, report.Report = false, trainer.Report{}
	}
	report.Stored = p.w.now
	p.w.decide(report)
}

func (p *player) grow(rt *rapid.T) {
	p.w.trainer.spoil = nil
	for range rapid.IntRange(3, 25).Draw(rt, "reports") {
		p.w.report()
		p.check(rt)
	}
}

// garbage is a report of which nothing makes sense.
func (p *player) garbage(rt *rapid.T) {
	report := p.w.trainer.report(p.w.now)
	values := []float32{float32(math.NaN()), float32(math.Inf(1)), -1, 0, 1, 1 << 25, math.MaxFloat32}
	names := []string{"order", "alpha", "alpha_steps", "loss_after", "attach_failed", "attach_reason", "paused", "forward_ms"}
	for _, id := range []string{"a", "b", "c", "", "strange"} {
		if rapid.Bool().Draw(rt, "listed") {
			metrics := map[string]float32{}
			for _, name := range names {
				if rapid.Bool().Draw(rt, name) {
					metrics[name] = rapid.SampledFrom(values).Draw(rt, "value")
				}
			}
			report.Packet.SeedStates = append(report.Packet.SeedStates, &leyline.SeedState{
				SeedId: id, Stage: leyline.SeedLifecycleStage(rapid.IntRange(-1, 13).Draw(rt, "stage")), Metrics: metrics,
			})
		}
	}
	if rapid.IntRange(0, 4).Draw(rt, "nil entry") == 0 {
		report.Packet.SeedStates = append(report.Packet.SeedStates, nil)
	}
	p.w.decide(report)
}

func (p *player) wait(rt *rapid.T) {
	p.w.wait(time.Duration(rapid.IntRange(1, 100).Draw(rt, "seconds")) * time.Second)
}

// restart is a trainer of another process, with or without a checkpoint.
func (p *player) restart(rt *rapid.T) {
	p.trainers++
	next := newFakeTrainer("restarted-" + number(p.trainers))
	if rapid.Bool().Draw(rt, "from a checkpoint") {
		next.resumes = p.w.trainer.id
		for _, s := range p.w.trainer.seeds {
			if rapid.Bool().Draw(rt, "kept") {
				copied := *s
				next.seeds = append(next.seeds, &copied)
				copied.stage = max(lifecycle.Training, copied.stage-leyline.SeedLifecycleStage(rapid.IntRange(0, 2).Draw(rt, "back")))
			}
		}
	}
	p.w.trainer = next
}

// flush is a Redis that lost everything.
func (p *player) flush(rt *rapid.T) {
	if rapid.IntRange(0, 3).Draw(rt, "really") == 0 {
		p.w.record, p.w.orders = nil, nil
		p.stage = map[string]leyline.SeedLifecycleStage{}
		p.w.numbers = map[uint64]string{}
	}
}

// lapse is a Redis that lost what it was told last.
func (p *player) lapse(rt *rapid.T) {
	if p.w.record == nil {
		return
	}
	before, err := DecodeRecord([]byte(stored(p.w.t, p.w.record)))
	if err != nil {
		rt.Fatal(err)
	}
	for range rapid.IntRange(1, 6).Draw(rt, "reports") {
		p.w.report()
	}
	p.check(rt)
	p.w.trainer.obey(p.w.orders)
	p.w.record = before
	p.w.numbers = map[uint64]string{}
	p.stage = map[string]leyline.SeedLifecycleStage{}
	for _, s := range before.Seeds {
		p.stage[s.ID] = s.Stage
	}
}

// deaf is a trainer that reads its orders and does nothing.
func (p *player) deaf(rt *rapid.T) {
	f := p.w.trainer
	for range rapid.IntRange(1, 40).Draw(rt, "reports") {
		p.w.now = p.w.now.Add(3 * time.Second)
		for _, order := range p.w.orders {
			if order.TrainerID == f.id {
				f.read = max(f.read, order.Number)
			}
		}
		p.w.decide(f.report(p.w.now))
	}
}

// unasked is a trainer that moves a seed on by itself.
func (p *player) unasked(rt *rapid.T) {
	for _, s := range p.w.trainer.seeds {
		if s.stage < lifecycle.Fossilized && rapid.Bool().Draw(rt, "moves") {
			s.stage++
		}
	}
	p.w.report()
}

func (p *player) signal(rt *rapid.T) {
	p.w.decide(Emergency{
		Level: leyline.EmergencyLevel(rapid.IntRange(0, 4).Draw(rt, "level")),
		ID:    rapid.SampledFrom([]string{"", "e1", "e2"}).Draw(rt, "id"),
	})
}

func (p *player) trainerForgets(rt *rapid.T) {
	f := p.w.trainer
	if len(f.seeds) > 0 && rapid.IntRange(0, 3).Draw(rt, "really") == 0 {
		f.seeds = f.seeds[1:]
	}
}

func (p *player) spoil(rt *rapid.T) {
	name := rapid.SampledFrom([]string{"loss_after", "host_gradient_max", "gradient_norm", "shared_parameters", "forward_faults"}).Draw(rt, "metric")
	p.w.trainer.spoil = spoiled(name, rapid.SampledFrom([]float32{0, 1.5, float32(math.NaN())}).Draw(rt, "value"))
}

func (p *player) attachFails(rt *rapid.T) {
	p.w.trainer.failing = trainer.AttachFailure(max(0, rapid.IntRange(-8, 8).Draw(rt, "failure")))
}

// check follows the told stages through the table.
func (p *player) check(rt *rapid.T) {
	for _, packet := range p.w.emitted() {
		p.follow(rt, packet)
	}
	if p.w.record == nil {
		return
	}
	text, err := json.Marshal(p.w.record)
	if err != nil || len(text) > 16<<10 {
		rt.Fatalf("a record of %d bytes, %v", len(text), err)
	}
	for _, s := range p.w.record.Seeds {
		if p.stage[s.ID] != s.Stage {
			rt.Fatalf("seed %s is in %s, told was %s", s.ID, s.Stage, p.stage[s.ID])
		}
	}
}

func (p *player) follow(rt *rapid.T, packet *leyline.TelemetryPacket) {
	adopted := events([]*leyline.TelemetryPacket{packet}, "seed_adopted")
	if refused := events([]*leyline.TelemetryPacket{packet}, "seed_transition_refused"); len(refused) > 0 {
		rt.Fatalf("an illegal move was tried: %v", refused)
	}
	for _, event := range events([]*leyline.TelemetryPacket{packet}, "seed_stage") {
		id := event.GetAttributes()["seed_id"]
		next := leyline.SeedLifecycleStage(leyline.SeedLifecycleStage_value[event.GetAttributes()["stage"]])
		before, known := p.stage[id]
		if !known || before == lifecycle.Terminated { // a new life begins in DORMANT
			before = lifecycle.Dormant
		}
		fresh := len(adopted) > 0 && before == lifecycle.Dormant
		if next != before && !fresh && lifecycle.Transition(before, next) != nil {
			rt.Fatalf("seed %s went from %s to %s", id, before, next)
		}
		p.stage[id] = next
	}
}

// comesToRest lets all messages arrive: every seed is then kept, or gone.
func (p *player) comesToRest(rt *rapid.T) {
	w := p.w
	w.trainer.spoil = nil
	w.wait(3 * time.Minute) // a new trainer may take over, embargoes end
	for range 3 {
		w.report()
	}
	if w.record.Emergency.Level >= pausingLevel {
		w.accepts(w.command(0, "", ofType(leyline.CommandType_COMMAND_EMERGENCY), annotate("level", "0")))
	}
	for _, id := range []string{"a", "b", "c"} {
		w.send(w.command(0, id, ofType(leyline.CommandType_COMMAND_PAUSE), annotate("resume", "true")))
	}
	for range 80 {
		w.report()
		for _, id := range []string{"a", "b", "c"} {
			w.send(w.command(opFossilize, id))
		}
		w.now = w.now.Add(4 * time.Second)
	}
	w.wait(3 * time.Hour)
	for range 3 {
		w.report()
	}
	p.check(rt)
	for _, s := range w.record.Seeds {
		if s.Stage != lifecycle.Fossilized {
			rt.Fatalf("seed %s is stuck in %s: %+v\npending %+v", s.ID, s.Stage, s, w.record.Pending)
		}
	}
	if len(w.record.Pending) != 0 {
		rt.Fatalf("orders wait for ever: %+v", w.record.Pending)
	}
	var grafted, known []string
	for _, s := range w.trainer.seeds {
		grafted = append(grafted, s.id)
	}
	for _, s := range w.record.Seeds {
		known = append(known, s.ID)
	}
	slices.Sort(grafted)
	slices.Sort(known)
	if !slices.Equal(grafted, known) {
		rt.Fatalf("grafted are %v, known %v", grafted, known)
	}
}
