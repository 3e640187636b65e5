package main

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/redis/rueidis"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/signing"
	"github.com/esper-lite/weatherlight/trainer"
)

// growthSlot is the shape at which the trainers of this program grow: that of the
// library's own kernels.
const (
	growthSlot     = "hidden"
	growthFeatures = 32
)

// tellers are the trainers' side of many runs: they tell what is grafted, and do
// nothing else. Reports are signed before the clock starts.
type tellers struct {
	client  rueidis.Client
	keyring *signing.Keyring
	stream  string
}

func newTellers(url, stream string) (*tellers, error) {
	keyring, err := signing.NewKeyring(secret)
	if err != nil {
		return nil, err
	}
	client, err := connect(url)
	if err != nil {
		return nil, err
	}
	return &tellers{client: client, keyring: keyring, stream: stream}, nil
}

// growing is one seed as its trainer tells of it.
type growing struct {
	id, slot string
	stage    leyline.SeedLifecycleStage
	attached uint64 // order that attached it
	order    uint64 // the last one for it
	steps    int    // of its ramp
	fails    bool   // on probation the model is worse with it
}

// telling is one run as its trainer tells of it.
type telling struct {
	run    string
	number uint32 // of the last report
	read   uint64 // highest order received
	slots  int
	seeds  []growing
}

func newTelling(run string, seeds int, stage leyline.SeedLifecycleStage) *telling {
	t := &telling{run: run, slots: max(seeds, 1)}
	for i := range seeds {
		t.read = uint64(i + 1)
		t.seeds = append(t.seeds, growing{
			id: fmt.Sprintf("seed-%d", i), slot: slotName(i), stage: stage, attached: t.read, order: t.read,
		})
	}
	return t
}

func slotName(number int) string { return growthSlot + strconv.Itoa(number) }

// report is the run's next one.
func (t *telling) report() (*leyline.SystemStatePacket, trainer.Report) {
	t.number++
	packet := &leyline.SystemStatePacket{
		Version: 1, CurrentEpoch: t.number, GlobalStep: 28 * uint64(t.number),
		ValidationLoss: 0.4, ValidationAccuracy: 0.9, TrainingLoss: 0.3,
		TimestampNs: uint64(time.Now().UnixNano()),
		PacketId:    fmt.Sprintf("%s-%d", t.run, t.number), SourceSubsystem: "bench", TrainingRunId: t.run,
		TrainingMetrics: map[string]float32{"epoch_ms": 12},
	}
	report := trainer.Report{
		TrainerID: "trainer-of-" + t.run, Number: uint64(t.number), OrderRead: t.read,
		HostLayers: []string{"hidden", "head"}, KernelAccess: []string{"path"},
		Slots: map[string][]int{}, Grafts: map[string]trainer.Graft{},
	}
	for _, seed := range t.seeds {
		report.Grafts[seed.id] = trainer.Graft{
			Slot: seed.slot, Blueprint: "BP001", Checksum: ceilingChecksum, Order: seed.attached,
		}
		packet.SeedStates = append(packet.SeedStates, t.seedState(seed))
	}
	for i := range t.slots {
		report.Slots[slotName(i)] = []int{growthFeatures}
	}
	return packet, report
}

func (t *telling) seedState(seed growing) *leyline.SeedState {
	loss, accuracy := float32(0.3), float32(0.95)
	if seed.fails && seed.stage == leyline.SeedLifecycleStage_SEED_STAGE_PROBATIONARY {
		loss, accuracy = 0.5, 0.85
	}
	return &leyline.SeedState{
		SeedId: seed.id, Stage: seed.stage, GradientNorm: 0.5, LearningRate: 0.001, AgeEpochs: t.number,
		Metrics: map[string]float32{
			trainer.MetricOrder: float32(seed.order),
			trainer.MetricAlpha: min(1, float32(seed.steps)/20), trainer.MetricAlphaSteps: float32(seed.steps),
			trainer.MetricLossBefore: 0.4, trainer.MetricLossAfter: loss, trainer.MetricLossError: 0.01,
			trainer.MetricAccuracyBefore: 0.9, trainer.MetricAccuracyAfter: accuracy, trainer.MetricAccuracyError: 0.005,
			trainer.MetricHeldOut: 500, trainer.MetricGradientNorm: 0.5, trainer.MetricHostGradientMax: 0,
			trainer.MetricTrainLoss: 1 / float32(t.number), trainer.MetricForwardMS: 0.2,
		},
	}
}

// sealed is the run's next report as an entry.
func (c *tellers) sealed(t *telling) (entry, error) {
	packet, report := t.report()
	attributes := report.Attributes()
	maps.Copy(attributes, bound(c.keyring, c.stream))
	return seal(c.keyring, packet, attributes)
}

// tell stores reports, in pipelines of 100.
func (c *tellers) tell(ctx context.Context, entries []entry) error {
	for len(entries) > 0 {
		n := min(len(entries), 100)
		commands := make(rueidis.Commands, n)
		for i, e := range entries[:n] {
			commands[i] = add(c.client, c.stream, e)
		}
		if err := firstError(c.client.DoMulti(ctx, commands...)); err != nil {
			return fmt.Errorf("send reports: %w", err)
		}
		entries = entries[n:]
	}
	return nil
}

// germinate commands a seed into a run.
func (c *tellers) germinate(ctx context.Context, run, seed, blueprint, slot string) error {
	command := &leyline.AdaptationCommand{
		Version: 1, CommandId: fmt.Sprintf("%016x%016x", rand.Uint64(), rand.Uint64()),
		CommandType: leyline.CommandType_COMMAND_SEED, TargetSeedId: seed, IssuedAt: timestamppb.Now(), IssuedBy: "bench",
		Annotations: map[string]string{
			trainer.AnnotationRun: run, trainer.AnnotationSlot: slot, "mesh_host_layers": `["hidden"]`,
		},
		Payload: &leyline.AdaptationCommand_SeedOperation{SeedOperation: &leyline.CommandSeedOperation{
			Operation: leyline.SeedOperation_SEED_OP_GERMINATE, BlueprintId: blueprint,
		}},
	}
	if err := c.keyring.SignCommand(command); err != nil {
		return err
	}
	e, err := seal(c.keyring, command, nil)
	if err != nil {
		return err
	}
	return c.tell(ctx, []entry{e})
}

// order waits for the next order of a run behind an entry id, and returns its
// number and the id.
func (c *tellers) order(ctx context.Context, run, after string) (number uint64, id string, err error) {
	stream := trainer.Stream(run)
	read, err := c.client.Do(ctx, c.client.B().Xread().Count(1).Block(answerTimeout.Milliseconds()).
		Streams().Key(stream).Id(after).Build()).AsXRead()
	if err != nil || len(read[stream]) != 1 {
		return 0, "", fmt.Errorf("no order of run %s came: %w", run, err)
	}
	command := new(leyline.AdaptationCommand)
	if err := open(c.keyring, read[stream][0].FieldValues, command); err != nil {
		return 0, "", fmt.Errorf("order: %w", err)
	}
	order, err := trainer.ReadOrder(command)
	if err != nil {
		return 0, "", fmt.Errorf("order: %w", err)
	}
	return order.Number, read[stream][0].ID, nil
}
