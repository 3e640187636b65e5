package e2e

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	// debianPython is Debian's: its modules belong to no other interpreter on the path.
	debianPython    = "/usr/bin/python3"
	streamEmergency = "oona.emergency"

	training     = "SEED_STAGE_TRAINING"
	blending     = "SEED_STAGE_BLENDING"
	shadowing    = "SEED_STAGE_SHADOWING"
	probationary = "SEED_STAGE_PROBATIONARY"
	fossilized   = "SEED_STAGE_FOSSILIZED"
)

// bindings are what protoc makes of the contract, once for all tests.
var bindings = sync.OnceValues(func() (string, error) {
	if output, err := exec.Command(debianPython, "-c", "import google.protobuf").CombinedOutput(); err != nil {
		return "", fmt.Errorf("apt-get install python3 python3-protobuf: %w\n%s", err, output)
	}
	contract := filepath.Join("..", "..", "proto")
	protoc := exec.Command("protoc", "--proto_path="+contract, "--python_out="+suite.binaries,
		filepath.Join(contract, "esper", "leyline", "v1", "leyline.proto"))
	if output, err := protoc.CombinedOutput(); err != nil {
		return "", fmt.Errorf("apt-get install protobuf-compiler libprotobuf-dev: %w\n%s", err, output)
	}
	return suite.binaries, nil
})

// trainerProcess is a trainer in a process that prints what it does: that of
// testdata/trainer_peer.py, or of this test binary.
type trainerProcess struct {
	*process
	run string
}

// trainerEvent is one line that it printed.
type trainerEvent struct {
	Event     string
	TrainerID string `json:"trainer_id"`
	Number    uint64
	Epoch     uint32
	OrderRead uint64 `json:"order_read"`
	Seeds     map[string]string
	Sent      uint64
	Kind      string
	Seed      string
	Why       string
	Blueprint string
	Resumes   string
	Failures  int
	Checked   int
	Reason    int
	Bytes     int
	Halted    bool
}

// trainer starts a trainer of a run on the Redis of the world.
func (w *world) trainer(run string, args ...string) *trainerProcess {
	w.t.Helper()
	return w.pythonTrainer(run, append([]string{"--secret", secret, "--redis", w.redis.Addr, "--run", run}, args...)...)
}

func (w *world) pythonTrainer(run string, args ...string) *trainerProcess {
	w.t.Helper()
	return &trainerProcess{startPeer(w.t, args...), run}
}

func startPeer(t testing.TB, args ...string) *process {
	t.Helper()
	folder, err := bindings()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(debianPython, append([]string{filepath.Join("testdata", "trainer_peer.py"), "--bindings", folder}, args...)...)
	cmd.Env = []string{"PYTHONDONTWRITEBYTECODE=1"}
	return start(t, cmd, fmt.Sprintf("trainer %v", args))
}

// events are the lines so far.
func (p *trainerProcess) events() []trainerEvent {
	p.t.Helper()
	var events []trainerEvent
	for line := range strings.Lines(p.stdout.String()) {
		if !strings.HasSuffix(line, "\n") {
			break // it is being written
		}
		var event trainerEvent
		if err := json.Unmarshal([]byte(line), &event); err != nil {
			p.t.Fatalf("the trainer printed %q: %v", line, err)
		}
		events = append(events, event)
	}
	return events
}

func (p *trainerProcess) all(name string) []trainerEvent {
	p.t.Helper()
	return slices.DeleteFunc(p.events(), func(e trainerEvent) bool { return e.Event != name })
}

// report is the last report that was sent, by the trainer's own account.
func (p *trainerProcess) report() trainerEvent {
	p.t.Helper()
	reports := p.all("report")
	if len(reports) == 0 {
		return trainerEvent{}
	}
	sent := reports[len(reports)-1].Sent
	if sent == 0 {
		return trainerEvent{}
	}
	return reports[sent-1]
}

func (p *trainerProcess) id() string {
	p.t.Helper()
	for _, event := range p.all("started") {
		return event.TrainerID
	}
	return ""
}

// await waits until a seed is in one of the stages, and returns it.
func (p *trainerProcess) await(within time.Duration, stages ...string) (seed string) {
	p.t.Helper()
	eventually(p.t, fmt.Sprintf("a seed of %s is in one of %v", p.run, stages), within, func() bool {
		p.mustRun()
		for id, stage := range p.report().Seeds {
			if slices.Contains(stages, stage) {
				seed = id
			}
		}
		return seed != ""
	})
	return seed
}

// awaitReports waits until so many more reports have left.
func (p *trainerProcess) awaitReports(more uint64) {
	p.t.Helper()
	before := p.report().Number
	eventually(p.t, fmt.Sprintf("%d more reports have left", more), patience, func() bool {
		p.mustRun()
		return p.report().Number >= before+more
	})
}

// growing reports whether a seed is there that is not kept yet.
func (p *trainerProcess) growing() bool {
	p.t.Helper()
	for _, stage := range p.report().Seeds {
		if stage != fossilized {
			return true
		}
	}
	return false
}

func (p *trainerProcess) mustRun() {
	p.t.Helper()
	if !p.running() {
		p.t.Fatalf("the trainer ended with exit code %d: %s", p.Code(), tail(p.stderr.String()))
	}
}

// ladder are the stages of a seed that is grafted, in their order.
var ladder = []string{training, blending, shadowing, probationary, fossilized}

// mustBeLegal checks what the trainer was told and did: orders count up, stages
// follow each other one by one, and nothing was refused but for the reasons given
// and for having come before: an order is sent again until a report knows of it.
func (p *trainerProcess) mustBeLegal(refusals ...string) {
	p.t.Helper()
	last, stages := uint64(0), map[string]string{}
	for _, event := range p.events() {
		switch event.Event {
		case "order":
			if event.Number <= last {
				p.t.Errorf("order %d was taken after %d", event.Number, last)
			}
			last = event.Number
		case "attached":
			stages[event.Seed] = training
		case "dropped":
			delete(stages, event.Seed)
		case "attach_failed":
			p.t.Errorf("the kernel of %s was not attached, reason %d", event.Seed, event.Reason)
		case "refused":
			if event.Why != "number" && !slices.Contains(refusals, event.Why) {
				p.t.Errorf("the trainer refused an order: %s", event.Why)
			}
		case "report":
			p.mustFollow(stages, event)
		}
	}
}

// mustFollow checks that each seed of a report stands where it stood, or further.
func (p *trainerProcess) mustFollow(stages map[string]string, report trainerEvent) {
	p.t.Helper()
	for seed, stage := range report.Seeds {
		from, to := slices.Index(ladder, stages[seed]), slices.Index(ladder, stage)
		if to < 0 || from >= 0 && to != from && to != from+1 {
			p.t.Errorf("report %d: %s is %s after %s", report.Number, seed, stage, stages[seed])
		}
		stages[seed] = stage
	}
}

// record is what /runs/<id> says of a run.
func (w *world) record(run string) (code int, body string) {
	w.t.Helper()
	return w.get("/runs/" + run)
}

// commands are the adaptation commands on a stream.
func (w *world) commands(stream string) (commands []message) {
	w.t.Helper()
	for _, e := range w.bus.entries(stream) {
		outer := decodeMessage(w.t, []byte(e.fields["payload"]))
		if outer[1].varint == typeCommand {
			commands = append(commands, decodeMessage(w.t, outer[2].bytes))
		}
	}
	return commands
}

// told are the events of all telemetry packets on the bus.
func (w *world) told() (events []event) {
	w.t.Helper()
	for _, stream := range []string{streamTelemetry, streamEmergency} {
		for _, e := range w.bus.entries(stream) {
			outer := decodeMessage(w.t, []byte(e.fields["payload"]))
			if outer[1].varint == typeTelemetry {
				events = append(events, decodePacket(w.t, outer[2].bytes).events...)
			}
		}
	}
	return events
}

// tells reports whether an event has all texts among its values.
func (e event) tells(texts ...string) bool {
	for _, text := range texts {
		found := strings.Contains(e.description, text)
		for _, value := range e.attributes {
			found = found || strings.Contains(value, text)
		}
		if !found {
			return false
		}
	}
	return true
}

// mustHaveNoDeadLetters fails when anything was given up.
func (w *world) mustHaveNoDeadLetters() {
	w.t.Helper()
	for _, e := range w.bus.entries(streamDeadLetter) {
		w.t.Errorf("dead letter: %s of %s: %s", e.fields["reason"], e.fields["stream"], e.fields["error"])
	}
}

// end stops a trainer as an operator would.
func (p *trainerProcess) end() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	p.exit(stopBound)
}
