package trainer_test

import (
	"encoding/base64"
	"encoding/hex"
	"maps"
	"strconv"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/signing"
	"github.com/esper-lite/weatherlight/trainer"
)

const (
	secret   = "golden-secrét"
	run      = "run-1"
	storedMS = 1700000000000 // when the entries of the story were stored, by Redis
)

func keyring(t *testing.T, secrets ...string) *signing.Keyring {
	t.Helper()
	if len(secrets) == 0 {
		secrets = []string{secret}
	}
	ring, err := signing.NewKeyring(secrets[0])
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func decimal(number int64) string { return strconv.FormatInt(number, 10) }

// story is what arrives on the order stream of a run, entry by entry, and what
// its trainer has to report after each.
type story struct {
	Secret    string            `json:"secret"`
	Run       string            `json:"run"`
	TrainerID string            `json:"trainer_id"`
	Slots     map[string][]int  `json:"slots"`
	Accepts   []string          `json:"accepts"`
	Stream    string            `json:"stream"`
	Streams   map[string]string `json:"streams"` // of other runs
	Kernels   map[string]string `json:"kernels"` // base64 by path
	Entries   []storyEntry      `json:"entries"`
}

type storyEntry struct {
	Name string `json:"name"`
	ID   string `json:"id"`
	sealed
	Signed string         `json:"signed,omitempty"` // bytes under the command's signature, in hexadecimal
	Order  *trainer.Order `json:"order,omitempty"`
	Steps  int            `json:"steps,omitempty"` // optimizer steps after the order has taken effect
	Then   told           `json:"then"`
}

// told is what the next report says, and why the entry was dropped.
type told struct {
	Dropped   string                   `json:"dropped"`
	OrderRead uint64                   `json:"order_read"`
	RunOrder  uint64                   `json:"run_order"` // 0: none was applied
	Halted    int                      `json:"halted"`
	Grafts    map[string]trainer.Graft `json:"grafts"`
	Seeds     map[string]seedTold      `json:"seeds"`
}

// seedTold is stage and metrics of a seed, but for its evidence.
type seedTold map[string]any

// storyWriter writes a story; told is what stands after the entries so far.
type storyWriter struct {
	t     *testing.T
	ring  *signing.Keyring
	sums  map[string]string // of kernels by path
	story story
	now   told
}

// Where the kernels of the story lie: one for the slot layer2, and two for head.
const (
	kernelLayer2 = "kernels/1.onnx"
	kernelHead   = "kernels/2.onnx"
	kernelOther  = "kernels/3.onnx"
)

// storyKernels multiply with a factor, so that they are small in any slot.
func storyKernels(t *testing.T) map[string][]byte {
	t.Helper()
	files := make(map[string][]byte)
	for path, one := range map[string]struct {
		shape  []int
		factor float32
	}{
		kernelLayer2: {[]int{64, 7, 7}, 0.5}, kernelHead: {[]int{32}, 0.5}, kernelOther: {[]int{32}, 2},
	} {
		b := kernel.NewBuilderFor("scaling", one.shape...)
		b.Init("factor", kernel.FromSlice([]float32{one.factor}, 1))
		b.Node("Mul", []string{"host", "factor"}, "seed")
		content, err := b.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		files[path] = content
	}
	return files
}

func orderStory(t *testing.T) story {
	w := &storyWriter{t: t, ring: keyring(t), sums: map[string]string{}, now: told{Grafts: map[string]trainer.Graft{}, Seeds: map[string]seedTold{}}}
	w.story = story{
		Secret: secret, Run: run, TrainerID: "t-1", Slots: map[string][]int{"head": {32}, "layer2": {64, 7, 7}},
		Accepts: []string{"optimizer"}, Stream: trainer.Stream(run), Streams: map[string]string{}, Kernels: map[string]string{},
	}
	for path, content := range storyKernels(t) {
		w.story.Kernels[path], w.sums[path] = base64.StdEncoding.EncodeToString(content), kernel.Checksum(content)
	}
	for _, other := range []string{"a run", "läuft", "A.b_c-9"} {
		w.story.Streams[other] = trainer.Stream(other)
	}
	w.attachAndBlend()
	w.hostileEnvelopes()
	w.hostileCommands()
	w.judgeAndKeep()
	w.failedAttaches()
	w.wholeRun()
	return w.story
}

// order is one for seed-1 in the whole of its life.
func order(kind trainer.Kind, number uint64, stage leyline.SeedLifecycleStage) trainer.Order {
	one := trainer.Order{
		Kind: kind, Run: run, TrainerID: "t-1", Number: number, Seed: "seed-1", Blueprint: "BP001", Slot: "layer2",
		Stage: stage, Reason: "policy", PolicyVersion: "tamiyo_plain_v1",
	}
	if kind == trainer.Pause || kind == trainer.Resume || kind == trainer.Rollback {
		one.Blueprint = "" // only a seed operation names one
	}
	return one
}

func (w *storyWriter) attach(number uint64, seed, slot, path string) trainer.Order {
	one := order(trainer.Attach, number, stageTraining)
	one.Seed, one.Slot = seed, slot
	one.Kernel = trainer.Kernel{Ref: path, URL: "http://127.0.0.1:9180/kernels/" + w.sums[path], Checksum: w.sums[path], GuardDigest: "g"}
	one.Blend, one.Schedule = trainer.Blend{Mode: trainer.Convex}, trainer.DefaultSchedule()
	return one
}

// envelopeOf signs a command for the stream at the time at which it is stored.
func (w *storyWriter) envelopeOf(command *leyline.AdaptationCommand) sealed {
	attributes := map[string]string{}
	bind(attributes, w.ring, w.story.Stream, storedMS)
	return seal(w.t, w.ring, 2, command, attributes)
}

func (w *storyWriter) sign(command *leyline.AdaptationCommand) *leyline.AdaptationCommand {
	w.t.Helper()
	command.CommandId = "order-" + command.GetAnnotations()["order"]
	if err := w.ring.SignCommand(command); err != nil {
		w.t.Fatal(err)
	}
	return command
}

// add puts an entry behind the others; what the trainer has to tell is what w
// says now.
func (w *storyWriter) add(name string, entry sealed, dropped string) *storyEntry {
	w.now.Dropped = dropped
	seeds, grafts := map[string]seedTold{}, map[string]trainer.Graft{}
	for id, seed := range w.now.Seeds {
		seeds[id] = seedTold{}
		maps.Copy(seeds[id], seed)
	}
	maps.Copy(grafts, w.now.Grafts)
	then := w.now
	then.Seeds, then.Grafts = seeds, grafts
	w.story.Entries = append(w.story.Entries, storyEntry{
		Name: name, ID: decimal(storedMS) + "-" + strconv.Itoa(len(w.story.Entries)), sealed: entry, Then: then,
	})
	return &w.story.Entries[len(w.story.Entries)-1]
}

// order adds an order that is taken; change is what it does.
func (w *storyWriter) order(name string, one trainer.Order, change func()) *storyEntry {
	w.t.Helper()
	w.now.OrderRead = one.Number
	change()
	entry := w.command(name, one.Command(), "")
	entry.Order = &one
	return entry
}

// command adds a command that is signed as it is.
func (w *storyWriter) command(name string, command *leyline.AdaptationCommand, dropped string) *storyEntry {
	w.t.Helper()
	w.sign(command)
	entry := w.add(name, w.envelopeOf(command), dropped)
	signed, err := signing.CommandBytes(command)
	if err != nil {
		w.t.Fatal(err)
	}
	entry.Signed = hex.EncodeToString(signed)
	return entry
}

// seed sets what is told of a seed.
func (w *storyWriter) seed(id string, stage leyline.SeedLifecycleStage, order uint64, alpha float64, steps int) func() {
	return func() {
		w.now.Seeds[id] = seedTold{"stage": stage.String(), "order": order, "alpha": alpha, "alpha_steps": steps}
	}
}

func (w *storyWriter) attached(id, slot string, number uint64, path string) func() {
	return func() {
		w.now.Grafts[id] = trainer.Graft{Slot: slot, Blueprint: "BP001", Checksum: w.sums[path], Order: number}
		w.seed(id, stageTraining, number, 0, 0)()
	}
}

func (w *storyWriter) attachAndBlend() {
	first := w.attach(1, "seed-1", "layer2", kernelLayer2)
	w.order("attach", first, w.attached("seed-1", "layer2", 1, kernelLayer2))
	w.command("the same order again changes nothing", first.Command(), "number")
	w.order("train goes on in isolation", order(trainer.Train, 2, stageTraining), w.seed("seed-1", stageTraining, 2, 0, 0))
	blend := w.order("blend, and nine steps", order(trainer.BlendIn, 3, stageBlending), w.seed("seed-1", stageBlending, 3, 0.5, 10))
	blend.Steps = 9
	w.order("pause takes it out of the output", order(trainer.Pause, 4, 0), func() {
		w.seed("seed-1", stageBlending, 4, 0, 10)()
		w.now.Seeds["seed-1"]["paused"] = 1
	}).Steps = 5
	w.order("resume puts it back where it was", order(trainer.Resume, 5, 0), w.seed("seed-1", stageBlending, 5, 0.5, 10))
	w.order("keep is refused outside PROBATIONARY", order(trainer.Keep, 6, stageFossilized), func() {})
	last := &w.story.Entries[len(w.story.Entries)-1]
	last.Then.Dropped = "stage"
}

func (w *storyWriter) hostileEnvelopes() {
	hold := w.sign(order(trainer.Hold, 7, leyline.SeedLifecycleStage_SEED_STAGE_SHADOWING).Command())
	good := w.envelopeOf(hold)
	w.add("an entry without a signature", sealed{Payload: good.Payload}, "unsigned")
	w.add("an entry signed with another secret", sealed{good.Payload, keyring(w.t, "another").SignEnvelope([]byte("x"))}, "bad_signature")
	for _, one := range []struct {
		name, dropped string
		change        func(map[string]string)
		kind          leyline.BusMessageType
	}{
		{"an envelope that signs no stream", "unbound", func(a map[string]string) { delete(a, "stream") }, 2},
		{"an envelope that signs no nonce", "unbound", func(a map[string]string) { delete(a, "nonce") }, 2},
		{"an envelope for another stream", "foreign_stream", func(a map[string]string) { a["stream"] = "oona.normal" }, 2},
		{"an order that was captured and stored again", "stale", func(a map[string]string) { a["issued_at_ms"] = decimal(storedMS - 150000) }, 2},
		{"an order of the future", "future", func(a map[string]string) { a["issued_at_ms"] = decimal(storedMS + 35000) }, 2},
		{"an envelope of another type", "wrong_type", func(map[string]string) {}, 4},
	} {
		attributes := map[string]string{}
		bind(attributes, w.ring, w.story.Stream, storedMS)
		one.change(attributes)
		w.add(one.name, seal(w.t, w.ring, one.kind, hold, attributes), one.dropped)
	}
	w.add("an envelope that cannot be decoded", garbage(w.ring), "undecodable")
}

// garbage is signed, and no message.
func garbage(ring *signing.Keyring) sealed {
	raw := []byte{0x0a, 0xff}
	return sealed{base64.StdEncoding.EncodeToString(raw), ring.SignEnvelope(raw)}
}

func (w *storyWriter) hostileCommands() {
	hold := func() *leyline.AdaptationCommand {
		return order(trainer.Hold, 7, leyline.SeedLifecycleStage_SEED_STAGE_SHADOWING).Command()
	}
	w.add("a command without a signature", w.envelopeOf(hold()), "signature")
	forged := w.sign(hold())
	forged.TargetSeedId = "seed-2"
	w.add("a command that was changed", w.envelopeOf(forged), "signature")
	for _, one := range []struct {
		name, dropped string
		change        func(*leyline.AdaptationCommand)
	}{
		{"a command of Tamiyo", "not_an_order", func(c *leyline.AdaptationCommand) { c.IssuedBy = "tamiyo" }},
		{"a command without a number", "not_an_order", func(c *leyline.AdaptationCommand) { delete(c.Annotations, "order") }},
		{"an order for another run", "other_run", func(c *leyline.AdaptationCommand) { c.Annotations["training_run_id"] = "run-2" }},
		{"an order for another trainer", "other_trainer", func(c *leyline.AdaptationCommand) { c.Annotations["trainer_id"] = "t-2" }},
		{"an order with a number that was read", "number", func(c *leyline.AdaptationCommand) { c.Annotations["order"] = "6" }},
	} {
		command := hold()
		one.change(command)
		w.command(one.name, command, one.dropped)
	}
}

func (w *storyWriter) judgeAndKeep() {
	shadowing, probationary := leyline.SeedLifecycleStage_SEED_STAGE_SHADOWING, leyline.SeedLifecycleStage_SEED_STAGE_PROBATIONARY
	w.order("hold", order(trainer.Hold, 7, shadowing), w.seed("seed-1", shadowing, 7, 1, 10))
	w.order("judge", order(trainer.Judge, 8, probationary), w.seed("seed-1", probationary, 8, 1, 10))
	w.order("keep", order(trainer.Keep, 9, stageFossilized), w.seed("seed-1", stageFossilized, 9, 1, 10))
	w.order("tune, numbers may be left out", order(trainer.Tune, 12, stageFossilized), w.seed("seed-1", stageFossilized, 12, 1, 10))
}

func (w *storyWriter) failedAttaches() {
	unknown := leyline.SeedLifecycleStage_SEED_STAGE_UNKNOWN
	failed := func(id string, number uint64, reason trainer.AttachFailure) func() {
		return func() {
			w.now.Seeds[id] = seedTold{"stage": unknown.String(), "order": number, "attach_failed": 1, "attach_reason": reason}
		}
	}
	changed := w.attach(13, "seed-2", "head", kernelOther)
	changed.Kernel.Ref = kernelHead
	w.order("attach of other bytes than those announced", changed, failed("seed-2", 13, trainer.AttachMismatch))
	w.order("attach in a slot that there is not", w.attach(14, "seed-3", "tail", kernelHead), failed("seed-3", 14, trainer.AttachNoRoom))
	lost := w.attach(15, "seed-4", "head", kernelHead)
	lost.Kernel.Ref = "kernels/lost.onnx"
	w.order("attach of a kernel that cannot be had", lost, failed("seed-4", 15, trainer.AttachUnreachable))
	strange := w.attach(16, "seed-5", "head", kernelHead).Command()
	strange.Annotations["blend_mode"] = "SMOOTH"
	w.now.OrderRead = 16
	failed("seed-5", 16, trainer.AttachBlend)()
	w.command("attach with a blend that is not understood", strange, "")
	drop := func(name string, number uint64, seed string) {
		one := order(trainer.Drop, number, leyline.SeedLifecycleStage_SEED_STAGE_CULLED)
		one.Seed = seed
		w.order(name, one, func() { delete(w.now.Seeds, seed) })
	}
	drop("drop of what was never attached", 17, "seed-2")
	drop("drop of what is not known at all", 18, "seed-9")
	w.order("attach again, and it can be had", w.attach(19, "seed-4", "head", kernelHead), w.attached("seed-4", "head", 19, kernelHead))
	w.order("attach of what is attached takes the number", w.attach(20, "seed-4", "head", kernelHead), w.attached("seed-4", "head", 20, kernelHead))
	for i, seed := range []string{"seed-3", "seed-5"} {
		drop("drop of "+seed, 21+uint64(i), seed)
	}
}

func (w *storyWriter) wholeRun() {
	w.order("optimizer", trainer.Order{
		Kind: trainer.Optimizer, Run: run, TrainerID: "t-1", Number: 23, Optimizer: "sgd", Parameters: map[string]float32{"lr": 0.125},
	}, func() { w.now.RunOrder = 23 })
	conservative := trainer.Order{
		Kind: trainer.Emergency, Run: run, TrainerID: "t-1", Number: 24, Level: leyline.EmergencyLevel_EMERGENCY_LEVEL_CONSERVATIVE,
	}
	w.order("emergency pauses what is no part of the model yet", conservative, func() {
		w.now.RunOrder, w.now.Seeds["seed-4"]["paused"] = 24, 1
	})
	rollback := order(trainer.Rollback, 25, leyline.SeedLifecycleStage_SEED_STAGE_TERMINATED)
	w.order("rollback of a kept seed", rollback, func() {
		delete(w.now.Seeds, "seed-1")
		delete(w.now.Grafts, "seed-1")
	})
	unknown := order(trainer.Hold, 26, 0).Command()
	unknown.CommandType, unknown.Payload = leyline.CommandType_COMMAND_CIRCUIT_BREAKER, nil
	w.now.OrderRead = 26
	w.command("an order that is not understood counts as read", proto.CloneOf(unknown), "not_understood")
	halt := conservative
	halt.Number, halt.Level = 27, leyline.EmergencyLevel_EMERGENCY_LEVEL_HALT
	w.order("emergency that halts", halt, func() {
		w.now.RunOrder, w.now.Halted = 27, 1
	})
	over := conservative
	over.Number, over.Level = 28, leyline.EmergencyLevel_EMERGENCY_LEVEL_NOTICE
	w.order("emergency of a lower level takes the halt back, and resumes nothing", over, func() {
		w.now.RunOrder, w.now.Halted = 28, 0
	})
	w.order("attach with another kernel is a new life", w.attach(29, "seed-4", "head", kernelOther), w.attached("seed-4", "head", 29, kernelOther))
	nobody := order(trainer.Hold, 30, leyline.SeedLifecycleStage_SEED_STAGE_SHADOWING)
	nobody.Seed = "seed-9"
	w.order("hold of a seed that is not there", nobody, func() {})
	last := &w.story.Entries[len(w.story.Entries)-1]
	last.Then.Dropped = "no_such_seed"
}
