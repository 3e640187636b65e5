package runsimtest

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"github.com/esper-lite/weatherlight/kasmina"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/trainer"
	"github.com/esper-lite/weatherlight/weatherlight/internal/control"
)

// auditor believes nobody. It sees what is written, published and obeyed, and
// holds it to what docs/trainers.md promises.
type auditor struct {
	town       *town
	violations []string
	digest     uint64
	files      map[string]*file // by run
	owed       map[owing]time.Time
	reports    map[string]fieldReport // by report id
	packets    map[string]bool
	decided    map[string]*leyline.AdaptationCommand // Tamiyo's, by id
	quietSince time.Time
	restSince  time.Time // zero: something still grows
}

// fieldReport is one that was made durable.
type fieldReport struct {
	run     string
	content string
	verdict string // on what it reports: that stays the same when it is made anew
	orphan  bool   // the record that it was made of is lost: it may come again with less to say
}

// file is what the auditor knows of one run.
type file struct {
	run      *run
	record   *kasmina.Record // as it was written last
	highest  uint64          // number of an order
	contents map[uint64]string
	trainers map[string]*process

	commands map[leyline.CommandType]int // that were sent, by type
	attached map[string]bool             // blueprints that were attached
	faulty   map[string]bool             // blueprints whose kernel was at fault
	leaked   map[string]bool             // seeds of which it is known that their gradients reached the host
	races    map[string]*race            // by seed

	germinations map[string]bool // seeds that Tamiyo asked for
	touched      map[string]bool // seeds that the operator had a hand in
	reported     map[string]int  // field reports by seed
	usurped      bool            // the operator germinated, of something else, a seed that Tamiyo had asked for
	garbage      bool            // nothing about it makes sense
	watched      int             // how often it was told that its trainer only reports
	losses       int             // of its record
	disturbed    bool            // it lost a record, or had another process
	lostAt       time.Time       // when it last lost its record
}

// mayGrow says whether the run has a trainer that speaks the protocol, or what
// looks like one.
func (f *file) mayGrow() bool { return f.garbage || f.run != nil && f.run.grows }

// process is one trainer of a run.
type process struct {
	took    map[uint64]bool      // orders that it obeyed
	effects map[trainer.Kind]int // of orders of these kinds
}

// race is a CULL that overtakes its GERMINATE.
type race struct {
	germinate, cull string // command ids
	culled          bool   // the CULL was handled before the GERMINATE
}

// owing is an output that was stored with a record and is to be published.
type owing struct {
	key  oona.RecordKey
	name string
}

func newAuditor(t *town) *auditor {
	return &auditor{
		town: t, files: make(map[string]*file), owed: make(map[owing]time.Time),
		reports: make(map[string]fieldReport), packets: make(map[string]bool),
		decided: make(map[string]*leyline.AdaptationCommand),
	}
}

// mostRecord is what a run may take in Redis, but for what is about to be published.
const mostRecord = 64 << 10

// most bounds what one simulation tells: the rest follows from the first.
const most = 20

func (a *auditor) violate(format string, args ...any) {
	text := a.town.now.Sub(epoch).Round(time.Millisecond).String() + " " + fmt.Sprintf(format, args...)
	a.tell("VIOLATION "+format, args...)
	if len(a.violations) < most {
		a.violations = append(a.violations, text)
	}
}

func (a *auditor) file(run string) *file {
	f, ok := a.files[run]
	if !ok {
		f = &file{
			contents: make(map[uint64]string), trainers: make(map[string]*process),
			commands: make(map[leyline.CommandType]int),
			attached: make(map[string]bool), faulty: make(map[string]bool), leaked: make(map[string]bool),
			races: make(map[string]*race), germinations: make(map[string]bool), touched: make(map[string]bool),
			reported: make(map[string]int),
		}
		f.garbage = run == garbageRun
		a.files[run] = f
	}
	return f
}

// came hears of a process that begins to train.
func (a *auditor) came(r *run, tr *trainee) {
	f := a.file(r.name)
	f.run = r
	f.disturbed = f.disturbed || len(f.trainers) > 0
	f.trainers[tr.id] = &process{took: make(map[uint64]bool), effects: make(map[trainer.Kind]int)}
	a.tell("%s: %s comes with %d seeds, resumes %q", r.name, tr.id, len(tr.seeds), tr.resumes)
}

// left hears that a process is no more.
func (a *auditor) left(r *run, tr *trainee) {
	a.tell("%s: %s is gone", r.name, tr.id)
}

// sent hears of a report before it is on the bus.
func (a *auditor) sent() {
	a.town.counts.Reports++
}

// saved sees every write of a record, and the orders in it.
func (a *auditor) saved(write oona.RecordWrite, before oona.Record, version int64) {
	a.town.counts.Saves++
	a.town.counts.MaxRecord = max(a.town.counts.MaxRecord, len(write.Value)+len(write.Pending))
	if len(write.Value) > mostRecord {
		a.violate("record of %s of run %q has %d bytes", write.Key.Part, write.Key.Run, len(write.Value))
	}
	h := fnv.New64a()
	_, _ = h.Write(write.Value)
	a.digest = a.digest*1099511628211 ^ h.Sum64() ^ uint64(version)
	f := a.file(write.Key.Run)
	if len(before.Pending) > 0 {
		a.overwritten(write.Key)
	}
	outputs := a.owe(write)
	for _, order := range write.Orders {
		a.ordered(f, write.Key.Run, order)
	}
	switch write.Key.Part {
	case control.PartKasmina:
		a.seeds(f, write, outputs)
	case control.PartTamiyo:
		a.controlled(f, write)
	}
}

// output is an output as it lies in a record.
type output struct {
	Type       string            `json:"type"`
	Payload    []byte            `json:"payload"`
	Attributes map[string]string `json:"attributes"`
	Once       string            `json:"once"`
}

// owe notes what is to be published because of a write.
func (a *auditor) owe(write oona.RecordWrite) []output {
	if len(write.Pending) == 0 {
		return nil
	}
	var outputs []output
	if err := json.Unmarshal(write.Pending, &outputs); err != nil {
		a.violate("pending outputs of %v cannot be read: %v", write.Key, err)
		return nil
	}
	for _, o := range outputs {
		name, err := o.name()
		if err != nil {
			a.violate("pending output of %v: %v", write.Key, err)
			continue
		}
		a.owed[owing{write.Key, name}] = a.town.now
	}
	return outputs
}

// overwritten: what another decision left behind must be published before the
// next one is written.
func (a *auditor) overwritten(key oona.RecordKey) {
	for o := range a.owed {
		if o.key == key {
			a.violate("%s of run %q was decided and not published when the next decision was written", o.name, key.Run)
			delete(a.owed, o)
		}
	}
}

// paid notes that an output was published.
func (a *auditor) paid(name string) {
	for o := range a.owed {
		if o.name == name {
			delete(a.owed, o)
		}
	}
}

// ordered checks one order that goes to a stream.
func (a *auditor) ordered(f *file, run string, command *leyline.AdaptationCommand) {
	a.town.counts.Orders++
	order, err := trainer.ReadOrder(command)
	if err != nil {
		a.violate("run %q: order cannot be read: %v", run, err)
		return
	}
	if !f.mayGrow() {
		a.violate("run %q: order %d to a trainer that only reports", run, order.Number)
	}
	content, _ := json.Marshal(order)
	a.tell("%s: order %d %s %s to %s (%s)", run, order.Number, order.Kind, order.Seed, order.TrainerID, order.Reason)
	known, again := f.contents[order.Number]
	switch {
	case again && known != string(content):
		a.violate("run %q: order %d is another than before:\n    %s\n    %s", run, order.Number, known, content)
	case !again && order.Number <= f.highest:
		a.violate("run %q: order %d comes after order %d", run, order.Number, f.highest)
	}
	f.contents[order.Number] = string(content)
	f.highest = max(f.highest, order.Number)
	if order.Kind == trainer.Attach {
		a.announced(run, order)
		delete(f.leaked, order.Seed) // another one of that name
	}
	if order.Kind == trainer.Keep && f.leaked[order.Seed] {
		a.violate("run %q: seed %q is to be kept, and its gradients reached the host", run, order.Seed)
	}
}

// announced checks that an attach names a kernel that the library told of.
func (a *auditor) announced(run string, order trainer.Order) {
	told := announcement{run, order.Blueprint, order.Kernel.Checksum, order.Kernel.GuardDigest}
	if !a.town.library.announced[told] {
		a.violate("run %q: order %d attaches a kernel that was not announced: %+v", run, order.Number, told)
	}
}

// applied hears that a trainer obeyed an order, and whether that changed anything.
func (a *auditor) applied(tr *trainee, order trainer.Order, effect bool) {
	f := a.file(tr.run.name)
	p := f.trainers[tr.id]
	if p.took[order.Number] {
		a.town.counts.Twice++
		a.violate("run %q: order %d (%s) took effect twice", tr.run.name, order.Number, order.Kind)
	}
	p.took[order.Number] = true
	if !effect {
		return
	}
	a.town.counts.Effects++
	switch order.Kind {
	case trainer.Attach:
		f.attached[order.Blueprint] = true
		a.town.counts.Trained++
	case trainer.BlendIn:
		a.town.counts.Blended++
	case trainer.Keep:
		a.town.counts.Kept++
	case trainer.Rollback:
		a.onlyOnce(f, tr, order.Kind, leyline.CommandType_COMMAND_ROLLBACK)
	case trainer.Optimizer:
		a.onlyOnce(f, tr, order.Kind, leyline.CommandType_COMMAND_OPTIMIZER)
	default:
	}
}

// onlyOnce checks that one command of a kind that is no state had one effect on a
// process. Another process may have come back from before it.
func (a *auditor) onlyOnce(f *file, tr *trainee, kind trainer.Kind, command leyline.CommandType) {
	effects := f.trainers[tr.id].effects
	effects[kind]++
	if effects[kind] > f.commands[command] {
		a.town.counts.Twice++
		a.violate("run %q: %d commands for a %s had %d effects", tr.run.name, f.commands[command], kind, effects[kind])
	}
}

// attachFailed hears that a trainer could not attach a kernel.
func (a *auditor) attachFailed(tr *trainee, order trainer.Order, reason trainer.AttachFailure) {
	a.town.counts.AttachFailures++
	a.tell("%s: attach of %s failed: %s", tr.run.name, order.Seed, reason.Reason())
	if reason.OfKernel() {
		a.file(tr.run.name).faulty[order.Blueprint] = true
	}
}

// verified checks what a real graft has attached: the file must be what was
// announced.
func (a *auditor) verified(tr *trainee, grafts map[string]trainer.Graft) {
	for seed, g := range grafts {
		if !a.town.library.serves(g.Checksum) {
			a.violate("run %q: seed %q is attached, and no file has its checksum %s", tr.run.name, seed, g.Checksum)
		}
	}
}

// misplaced hears of an order that a seed in this stage cannot obey.
func (a *auditor) misplaced(tr *trainee, order trainer.Order, stage leyline.SeedLifecycleStage) {
	a.town.counts.Unfit++
	a.tell("%s: order %d %s %s does not fit %v", tr.run.name, order.Number, order.Kind, order.Seed, stage)
	if stage != stageUnknown {
		a.violate("run %q: order %d (%s) to seed %q in %v", tr.run.name, order.Number, order.Kind, order.Seed, stage)
	}
}

// replaced hears of an attach for a seed that is there with another kernel: only a
// process that came with seeds of its own has one.
func (a *auditor) replaced(tr *trainee, order trainer.Order) {
	if !a.file(tr.run.name).disturbed {
		a.violate("run %q: order %d attaches seed %q, which is there with another kernel", tr.run.name, order.Number, order.Seed)
	}
}

// germinating are seeds that a record has and the trainer does not list yet.
func (a *auditor) germinating(r *run) []string {
	f := a.file(r.name)
	if f.record == nil {
		return nil
	}
	var names []string
	for _, s := range f.record.Seeds {
		names = append(names, s.ID)
	}
	return names
}

// flushed hears that Redis forgot everything.
func (a *auditor) flushed() {
	for _, f := range a.files {
		f.disturbed = true
	}
}

// forgotten hears that one record is lost: what was in it is owed no longer, and
// its orders are numbered by what the trainer says.
func (a *auditor) forgotten(key oona.RecordKey) {
	f := a.file(key.Run)
	f.disturbed = true
	for o := range a.owed {
		if o.key == key {
			delete(a.owed, o)
		}
	}
	if key.Part != control.PartKasmina {
		// What field reports compare with is lost. One that is made anew of the same
		// state of the trainer has the same id, and less to say.
		for id, report := range a.reports {
			if report.run == key.Run {
				report.orphan = true
				a.reports[id] = report
			}
		}
		return
	}
	f.record, f.lostAt = nil, a.town.now
	f.losses++
	for _, p := range f.trainers {
		clear(p.effects) // which commands were accepted is lost too: one that comes again within its freshness counts
	}
	f.highest = 0
	clear(f.contents)
	clear(f.races)
	a.tell("%s: record lost", key.Run)
}

// hasEvent looks for an event in packets among outputs.
func hasEvent(packets []*leyline.TelemetryPacket, holds func(*leyline.TelemetryEvent) bool) bool {
	return slices.ContainsFunc(packets, func(p *leyline.TelemetryPacket) bool {
		return slices.ContainsFunc(p.GetEvents(), holds)
	})
}
