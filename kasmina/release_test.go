package kasmina

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/kasmina/internal/lifecycle"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

// What users of the release before suffered, by the numbers of its findings.

func TestR1_TrainerThatOnlyReportsIsLeftAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	plain := func() Report {
		report := w.trainer.report(w.now)
		report.Protocol, report.Report = false, trainer.Report{}
		return report
	}
	for range 60 {
		w.now = w.now.Add(time.Second)
		d := w.decide(plain())
		if d.Ignored != "" {
			t.Fatal("nobody looks at its risk")
		}
	}
	if rejected := w.rejects(w.command(opGerminate, "s"), ReasonNoTrainer); !rejected.Ours {
		t.Error("a command of Tamiyo's own would become a dead letter")
	}
	foreign := w.command(opGerminate, "s", func(c *leyline.AdaptationCommand) { c.IssuedBy = "somebody" })
	if rejected := w.rejects(foreign, ReasonNoTrainer); rejected.Ours {
		t.Error("a stranger's command is taken for our own")
	}
	operators := w.command(opGerminate, "s", func(c *leyline.AdaptationCommand) { c.IssuedBy = "esperctl" })
	if rejected := w.rejects(operators, ReasonNoTrainer); !rejected.Ours {
		t.Error("a command of an operator, who was told, would become a dead letter")
	}
	packets := w.emitted()
	if told := events(packets, "trainer_watched"); len(told) != 1 {
		t.Errorf("%d events, want one for the run", len(told))
	}
	for _, packet := range packets {
		if priority := packet.GetSystemHealth().GetIndicators()["priority"]; priority != "MESSAGE_PRIORITY_NORMAL" {
			t.Errorf("%s goes to the emergency stream: %v", packet.GetPacketId(), packet.GetEvents())
		}
	}
	if len(w.orders)+len(w.requests)+len(w.record.Seeds) != 0 {
		t.Error("something was begun")
	}
}

func TestR1_CapturedReportWithoutItsAttributesChangesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.plant("s")
	before := stored(t, w.record)
	bare := Report{Packet: &leyline.SystemStatePacket{TrainingRunId: testRun}}
	if d := w.decide(bare); d.Ignored != IgnoredBare || d.Record != nil {
		t.Errorf("decision %+v", d)
	}
	if stored(t, w.record) != before {
		t.Error("the run was changed")
	}
}

func TestR2_GerminationByHandIsAttachedByTheTrainerOrRefusedAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.rejects(w.command(opGerminate, "s"), ReasonNoTrainer)
	if w.record != nil {
		t.Error("a run was made up")
	}
	w.meet()
	w.plant("s")
	w.wantGrafted("s")
}

func TestR3_CommandForASeedThatIsNotKnownIsNoDeadLetterOfOurs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	if rejected := w.rejects(w.command(opFossilize, "elsewhere"), ReasonUnknownSeed); !rejected.Ours {
		t.Error("it becomes a dead letter")
	}
	w.do(opCull, "elsewhere")
	w.do(opCancel, "elsewhere")
}

func TestR4_CommandThatIsDeliveredTwiceIsAcknowledgedQuietly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	command := w.command(opGerminate, "s")
	w.accepts(command)
	w.emitted()
	before := stored(t, w.record)
	for range 56 {
		w.accepts(command)
	}
	if stored(t, w.record) != before || len(w.emitted()) != 0 || len(w.requests) != 1 {
		t.Error("the repetition had an effect")
	}
}

// overTheBus is a report as the service reads it: out of bytes.
func overTheBus(t *testing.T, sent Report) Report {
	t.Helper()
	read := Report{Packet: &leyline.SystemStatePacket{}, Protocol: sent.Protocol}
	payload, err := proto.Marshal(sent.Packet)
	if err == nil {
		err = proto.Unmarshal(payload, read.Packet)
	}
	if err == nil && sent.Protocol {
		read.Report, err = trainer.ReadReport(sent.Report.Attributes())
	}
	if err != nil {
		t.Fatal(err)
	}
	return read
}

// ordersOverTheBus are orders as a trainer reads them: out of signed bytes.
func (w *world) ordersOverTheBus(sent []trainer.Order) []trainer.Order {
	w.t.Helper()
	var received []trainer.Order
	for _, order := range sent {
		command, read := order.Command(), &leyline.AdaptationCommand{}
		command.IssuedAt = timestamppb.New(w.now)
		err := w.keyring.SignCommand(command)
		payload, failed := proto.Marshal(command)
		if err := errors.Join(err, failed, proto.Unmarshal(payload, read), w.keyring.VerifyCommand(read)); err != nil {
			w.t.Fatal(err)
		}
		order, err := trainer.ReadOrder(read)
		if err != nil {
			w.t.Fatal(err)
		}
		received = append(received, order)
	}
	return received
}

// wantOnPage holds that a page promises what the test is about to do.
func wantOnPage(t *testing.T, page, promise string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", page))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), promise) {
		t.Errorf("%s does not say %q", page, promise)
	}
}

func TestR5_SeedGrowsInAnotherProcessByWhatTheBusCarries(t *testing.T) {
	t.Parallel()
	wantOnPage(t, "docs/architecture.md", "They meet on the bus alone: reports up, signed orders down, "+
		"each telling the whole, so that what is lost shows in the next report and is sent again.")
	wantOnPage(t, "README.md", "one that is to grow speaks the [trainer protocol](docs/trainers.md), "+
		"from any language and any machine: reports up, orders down.")
	w := newWorld(t, func(c *Config) { c.AutoFossilize = true })
	w.decide(overTheBus(t, w.trainer.report(w.now)))
	w.do(opGerminate, "s")
	w.decide(w.ready(w.lastRequest()))
	for tries := 0; w.stage("s") != lifecycle.Fossilized; tries++ {
		if tries == 120 {
			t.Fatalf("the seed is in %s", w.stage("s"))
		}
		w.now = w.now.Add(time.Second)
		orders := w.orders
		w.orders = nil
		if tries%3 != 0 { // else they are lost
			w.trainer.obey(w.ordersOverTheBus(orders))
		}
		report := w.trainer.report(w.now)
		if tries%5 != 0 { // else it is lost
			w.decide(overTheBus(t, report))
		}
	}
	if grown := w.trainer.find("s"); grown == nil || grown.stage != lifecycle.Fossilized || grown.checksum != digestOf("BP001") {
		t.Errorf("the trainer has %+v", grown)
	}
}

func TestR5_TrainerOfThePrototypeIsPromisedNoMoreThanToBeWatched(t *testing.T) {
	t.Parallel()
	wantOnPage(t, "README.md", "A trainer of the prototype, which only reports, is watched;")
	w := newWorld(t)
	packet := w.trainer.report(w.now).Packet
	packet.SeedStates = []*leyline.SeedState{{SeedId: "theirs", Stage: lifecycle.Training}}
	w.decide(overTheBus(t, Report{Packet: packet}))
	if w.told("trainer_watched"); len(w.orders)+len(w.requests)+len(w.record.Seeds) != 0 {
		t.Errorf("orders %v, requests %v, seeds %v", w.kinds(), w.requests, States(w.record))
	}
}

func TestR6_KernelOfAnotherFormatIsRefusedBeforeATrainerFetchesIt(t *testing.T) {
	t.Parallel()
	w := announced(t, func(r *Ready) { r.Attributes = map[string]string{trainer.AttributeFormat: "pt"} })
	w.wantStage("s", lifecycle.Embargoed)
	w.wantTold("gate_failure", "kernel_format")
	if len(w.orders) != 0 || len(WrittenOff(w.record)) != 0 {
		t.Errorf("orders %v, written off %v", w.kinds(), WrittenOff(w.record))
	}
}

func TestR6_OrderSaysWhereTheKernelIsForTrainersOfOtherMachines(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.plant("s")
	got := w.orders[0].Kernel
	sum := digestOf("BP001")
	if got.Ref != "/kernels/"+sum || got.URL != "http://kernels:8080/kernels/"+sum || got.Checksum != sum {
		t.Errorf("kernel %+v", got)
	}
}

func TestR7_RequestCarriesTheSlotOfItsTrainer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.trainer.slots = map[string][]int{"layer1": {64, 14, 14}, "layer2": {128, 7, 7}}
	w.meet()
	w.do(opGerminate, "a")
	w.do(opGerminate, "b", annotate("slot", "layer2"))
	w.rejects(w.command(opGerminate, "c", annotate("slot", "layer3")), ReasonUnknownSlot)
	for i, want := range []string{"[64,14,14]", "[128,7,7]"} {
		if got := w.requests[i].Attributes[trainer.AttributeSlot]; got != want {
			t.Errorf("request %d for %s, want %s", i, got, want)
		}
	}
	ready := w.ready(w.lastRequest())
	ready.Ready.GuardDigest = guardDigest([]int{128, 7, 7})
	w.decide(ready)
	if w.orders[0].Slot != "layer2" {
		t.Errorf("order %+v", w.orders[0])
	}
}

func TestR8_KeptSeedOutlivesARecordThatWasLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.AutoFossilize = true })
	w.meet()
	w.plant("kept")
	w.grow("kept", lifecycle.Fossilized)
	w.plant("young")
	w.report()
	last := w.record.LastOrder
	w.record = nil // Redis was flushed
	w.emitted()
	w.report()
	w.wantStage("kept", lifecycle.Fossilized)
	w.wantStage("young", lifecycle.Training)
	if told := events(w.emitted(), "record_rebuilt"); len(told) != 1 || told[0].GetAttributes()["seeds"] != "2" {
		t.Errorf("events %v", told)
	}
	w.report()
	if w.record.LastOrder <= last {
		t.Errorf("orders count from %d again, the trainer has read %d", w.record.LastOrder, last)
	}
	w.grow("young", lifecycle.Fossilized)
	w.wantGrafted("kept", "young")
}

// Nobody but who took a seed out of the output, or an operator, puts it back.
func TestPauseOutlivesARecordThatWasLost(t *testing.T) {
	t.Parallel()
	for _, who := range []string{issuedByTamiyo, "operator"} {
		t.Run(who, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.meet()
			w.plant("s")
			w.grow("s", lifecycle.Blending)
			w.pauses("-" + who)
			w.record, w.orders = nil, nil
			w.report()
			w.report()
			if len(w.orders) > 0 || !w.record.find("s").Out {
				t.Errorf("ordered %v, and it is %+v", w.kinds(), w.record.find("s"))
			}
			w.wantPaused("command")
			w.pauses("+" + who)
			w.wantPaused()
		})
	}
}

// These tests held the defects that they were named after; what a user needs of
// each is held here.
func TestR28_CommandsThatWereOnlyToldAreCarriedOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.trainer.accepts = []string{"optimizer"}
	w.meet()
	w.plant("s")
	w.accepts(w.command(0, "", func(c *leyline.AdaptationCommand) {
		c.CommandType = leyline.CommandType_COMMAND_OPTIMIZER
		c.Payload = &leyline.AdaptationCommand_OptimizerAdjustment{
			OptimizerAdjustment: &leyline.CommandOptimizerAdjustment{
				OptimizerId: "sgd", Hyperparameters: map[string]float32{"lr": 0.01},
			},
		}
	}))
	w.accepts(w.command(0, "", ofType(leyline.CommandType_COMMAND_EMERGENCY), annotate("level", "4")))
	w.report()
	if order := w.orders[1]; order.Kind != trainer.Optimizer || order.Optimizer != "sgd" || order.Parameters["lr"] != 0.01 {
		t.Errorf("order %+v", order)
	}
	if !w.trainer.halted || !w.trainer.seeds[0].paused {
		t.Error("the emergency reached nobody")
	}
}

func TestR28_SeedsOfATrainerThatWasReplacedGoOnWithItsCheckpoint(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.plant("s")
	w.grow("s", lifecycle.Blending)
	next := newFakeTrainer("trainer-2")
	next.resumes, next.seeds = "trainer-1", w.trainer.seeds
	w.trainer = next
	w.report()
	w.wantStage("s", lifecycle.Blending)
	w.grow("s", lifecycle.Probationary)
}
