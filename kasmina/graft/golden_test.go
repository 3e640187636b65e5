package graft_test

import (
	"context"
	"encoding/json"
	"maps"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/esper-lite/weatherlight/kasmina/graft"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/oona/embedded"
	"github.com/esper-lite/weatherlight/signing"
	"github.com/esper-lite/weatherlight/trainer"
)

// vector reads a file of the protocol's golden vectors.
func vector(t *testing.T, name string, into any) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "testdata", "trainer", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatal(err)
	}
}

type goldenBlend struct {
	Name        string
	Annotations map[string]string
	Refused     bool
	Alpha       float64
	Host, Seed  [][]float32
	Output      [][]float64
}

func TestGoldenBlendsComeOutOfTheSlot(t *testing.T) {
	t.Parallel()
	var blends []goldenBlend
	vector(t, "blends.json", &blends)
	for _, blend := range blends {
		t.Run(blend.Name, func(t *testing.T) {
			t.Parallel()
			if blend.Refused {
				w := newWorld(t, nil, 2)
				w.wantFailure(w.deliver(w.blendOrder(blend, constant(t, 0, 0))), trainer.AttachBlend)
				return
			}
			if len(blend.Output) == 0 {
				t.Fatal("nothing is to come out")
			}
			for i, seed := range blend.Seed {
				w := newWorld(t, nil, len(seed))
				w.deliver(w.blendOrder(blend, constant(t, seed...)))
				w.grow("s", stageBlending)
				for range int(math.Round(blend.Alpha * rampSteps)) {
					w.graft.Step()
				}
				for j, got := range w.output(row(blend.Host[i]...)) {
					if want := blend.Output[i][j]; math.Abs(float64(got)-want) > 1e-6 {
						t.Errorf("example %d, element %d is %v, want %v", i, j, got, want)
					}
				}
			}
		})
	}
}

// rampSteps is how finely a test can set the share of a seed.
const rampSteps = 20

// blendOrder attaches a seed "s" with the annotations of a vector. Its ramp begins
// at 0, with the first step.
func (w *world) blendOrder(blend goldenBlend, content []byte) *leyline.AdaptationCommand {
	w.Helper()
	order := w.attachOrder("s", content, trainer.Blend{})
	order.Schedule = linear(rampSteps)
	order.Schedule.WarmUp = 1
	command := order.Command()
	maps.Copy(command.Annotations, blend.Annotations)
	if _, ok := blend.Annotations["blend_mode"]; !ok {
		delete(command.Annotations, "blend_mode")
	}
	if err := w.keyring.SignCommand(command); err != nil {
		w.Fatal(err)
	}
	return command
}

// goldenStory is what arrives on the stream of a run, and what its trainer has to
// tell after each entry.
type goldenStory struct {
	Secret    string
	Run       string
	TrainerID string `json:"trainer_id"`
	Slots     map[string][]int
	Accepts   []string
	Stream    string
	Kernels   map[string][]byte
	Entries   []goldenEntry
}

type goldenEntry struct {
	Name, ID, Signature string
	Payload             []byte
	Steps               int
	Then                goldenReport
}

type goldenReport struct {
	Dropped   string
	OrderRead uint64 `json:"order_read"`
	RunOrder  uint64 `json:"run_order"`
	Halted    int
	Grafts    map[string]trainer.Graft
	Seeds     map[string]map[string]any
}

// A graft on a bus, given the entries byte by byte, says what every trainer has to.
func TestGoldenOrdersAreFollowed(t *testing.T) {
	var story goldenStory
	vector(t, "orders.json", &story)
	t.Chdir(t.TempDir()) // kernels lie at relative paths
	for path, content := range story.Kernels {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := newPlayer(t, &story)
	for _, entry := range story.Entries {
		if diff := cmp.Diff(entry.Then, p.play(entry)); diff != "" {
			t.Errorf("%s:\n%s", entry.Name, diff)
		}
	}
}

// player is the graft of a story on a broker.
type player struct {
	*world
	story  *goldenStory
	broker *embedded.Broker
	client *oona.Client
	seen   map[string]int64 // drops by reason, those of the bus and those of the graft
}

// reporting takes the orders of a bus, and keeps the reports in memory.
type reporting struct {
	*memoryBus
	orders *oona.Client
}

func (r reporting) FollowOrders(ctx context.Context, stream string, take func(*leyline.AdaptationCommand)) error {
	return r.orders.FollowOrders(ctx, stream, take)
}

func newPlayer(t *testing.T, story *goldenStory) *player {
	t.Helper()
	keyring, err := signing.NewKeyring(story.Secret)
	if err != nil {
		t.Fatal(err)
	}
	p := &player{story: story, seen: make(map[string]int64)}
	if p.broker, err = embedded.Start(embedded.Config{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.broker.Close)
	p.client, err = oona.Connect(t.Context(), oona.Config{URL: p.broker.URL(), Group: "g", Consumer: "c", Keyring: keyring})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.client.Close() })
	p.world = &world{TB: t, bus: newBus(), keyring: keyring}
	p.graft, err = graft.New(graft.Config{
		Run: story.Run, TrainerID: story.TrainerID, Keyring: keyring, Bus: reporting{p.bus, p.client}, Host: new(fakeHost),
		Accepts: story.Accepts, KernelAccess: []string{graft.AccessPath},
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, shape := range story.Slots {
		if _, err := p.graft.Slot(name, shape...); err != nil {
			t.Fatal(err)
		}
	}
	p.run()
	return p
}

// play has one entry arrive, and returns what is reported after it.
func (p *player) play(entry goldenEntry) goldenReport {
	p.Helper()
	words := []string{"XADD", p.story.Stream, entry.ID, "payload", string(entry.Payload)}
	if entry.Signature != "" {
		words = append(words, "signature", entry.Signature)
	}
	before := p.settled()
	p.broker.Do(time.Now(), words...)
	p.eventually(func() bool {
		p.graft.Apply()
		return p.settled() > before
	})
	for range entry.Steps {
		p.graft.Step()
	}
	told := p.report(nil)
	metrics := told.packet.GetTrainingMetrics()
	then := goldenReport{
		Dropped: p.dropped(), OrderRead: told.report.OrderRead, RunOrder: uint64(metrics[trainer.MetricOrder]),
		Halted: int(metrics[trainer.MetricHalted]), Grafts: told.report.Grafts, Seeds: make(map[string]map[string]any),
	}
	for _, seed := range told.packet.GetSeedStates() {
		then.Seeds[seed.GetSeedId()] = protocolled(seed)
	}
	return then
}

// settled counts what came to an end, on the bus or in the graft.
func (p *player) settled() int64 {
	count := int64(settled(p.graft))
	for _, drop := range p.client.Drops() {
		count += drop.Count
	}
	return count
}

// dropped is why the last entry was, "" when it was not.
func (p *player) dropped() string {
	now := make(map[string]int64)
	for reason, count := range p.graft.Stats().Dropped {
		now[reason] += int64(count)
	}
	for _, drop := range p.client.Drops() {
		now[drop.Reason] += drop.Count
	}
	reason := ""
	for name, count := range now {
		if count > p.seen[name] {
			reason += name
		}
	}
	p.seen = now
	return reason
}

// protocolled is of a seed what a story tells: its stage and where it stands, and
// no measurements.
func protocolled(seed *leyline.SeedState) map[string]any {
	metrics := seed.GetMetrics()
	out := map[string]any{"stage": seed.GetStage().String()}
	for _, name := range []string{
		trainer.MetricOrder, trainer.MetricAlpha, trainer.MetricAlphaSteps, trainer.MetricAttachFailed, trainer.MetricAttachReason,
	} {
		if value, ok := metrics[name]; ok {
			out[name] = float64(value)
		}
	}
	if metrics[trainer.MetricPaused] != 0 {
		out[trainer.MetricPaused] = float64(metrics[trainer.MetricPaused])
	}
	return out
}
