package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/esper-lite/weatherlight/kasmina/graft"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/signing"
	"github.com/esper-lite/weatherlight/tolaria"
	"github.com/esper-lite/weatherlight/trainer"
)

// goTrainerEnv holds what this test binary trains when it is started by itself, as
// the reference trainer in a process of its own.
const goTrainerEnv = "E2E_GO_TRAINER"

// goTrainerConfig is what such a process is told.
type goTrainerConfig struct {
	Redis, Secret, Run string
	// Folder takes a checkpoint after each epoch, and one more for each change that
	// moves the host or is to be undone later.
	Folder string
	Resume bool
	// Origin serves kernels to a trainer that shares no folder with the library.
	Origin string
}

const (
	// goTrainerEpochs end a trainer whose test has gone.
	goTrainerEpochs = 2000
	goTrainerSlot   = 16
	lastCheckpoint  = "last"
)

// changeCheckpoint names the checkpoint of a change.
func changeCheckpoint(kind trainer.Kind, seed string) string { return string(kind) + "-" + seed }

// beGoTrainer trains and returns the exit code of the process.
func beGoTrainer(text string) int {
	var config goTrainerConfig
	err := json.Unmarshal([]byte(text), &config)
	if err == nil {
		err = config.train(context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "go trainer:", err)
		return 1
	}
	return 0
}

// goTrainerLog is the training loop's side of the process: what it writes down and
// prints.
type goTrainerLog struct {
	trainer *tolaria.Trainer
	config  goTrainerConfig
	reports uint64
	failed  error
	stop    context.CancelFunc
}

func (c goTrainerConfig) train(ctx context.Context) error {
	keyring, err := signing.NewKeyring(c.Secret)
	if err != nil {
		return err
	}
	bus, err := oona.Connect(ctx, oona.Config{URL: c.Redis, Group: "trainer", Consumer: c.Run, Keyring: keyring})
	if err != nil {
		return err
	}
	defer bus.Close()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	l := &goTrainerLog{config: c, stop: stop}
	config := tolaria.Config{
		Graft: graft.Config{Bus: bus, Keyring: keyring, KernelAccess: c.access(), Kernels: graft.Origin{URL: c.Origin}},
		RunID: c.Run, Seed: 1, Slot: []int{goTrainerSlot}, MaxEpochs: goTrainerEpochs, Rejections: -1,
		OnEpoch: l.epoch, OnChange: l.change,
	}
	if c.Resume {
		config.Resume = filepath.Join(c.Folder, lastCheckpoint)
	}
	if l.trainer, err = tolaria.NewTrainer(config); err != nil {
		return err
	}
	_, err = l.trainer.Run(ctx)
	return errors.Join(l.failed, err)
}

func (c goTrainerConfig) access() []string {
	if c.Origin != "" {
		return []string{"http"}
	}
	return []string{"path"}
}

func (l *goTrainerLog) epoch(epoch tolaria.Epoch) {
	l.save(lastCheckpoint)
	l.reports++
	seeds := make(map[string]string)
	for _, seed := range epoch.Seeds {
		seeds[seed.ID] = seed.Stage.String()
	}
	l.say(map[string]any{"event": "report", "number": l.reports, "sent": l.reports, "epoch": epoch.Number, "seeds": seeds})
}

func (l *goTrainerLog) change(change graft.Change) {
	if change.Kind == trainer.BlendIn || change.Kind == trainer.Rollback {
		l.save(changeCheckpoint(change.Kind, change.Seed))
	}
	l.say(map[string]any{"event": "changed", "kind": change.Kind, "seed": change.Seed})
}

func (l *goTrainerLog) save(name string) {
	l.note(l.trainer.Save(filepath.Join(l.config.Folder, name)))
}

// say prints a line as a [trainerEvent] is read.
func (l *goTrainerLog) say(event map[string]any) {
	text, err := json.Marshal(event)
	if err == nil {
		_, err = fmt.Println(string(text))
	}
	l.note(err)
}

// note ends the training at the first error.
func (l *goTrainerLog) note(err error) {
	if err != nil && l.failed == nil {
		l.failed = err
		l.stop()
	}
}

// goTrainer starts the reference trainer in a process of its own.
func (w *world) goTrainer(run, folder string, resume bool) *goTrainer {
	w.t.Helper()
	return startGoTrainer(w.t, goTrainerConfig{Redis: w.redis.URL, Secret: secret, Run: run, Folder: folder, Resume: resume})
}

func startGoTrainer(t *testing.T, config goTrainerConfig) *goTrainer {
	t.Helper()
	text, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = []string{"TMPDIR=" + config.Folder, goTrainerEnv + "=" + string(text)}
	return &goTrainer{&trainerProcess{start(t, cmd, "Go trainer"), config.Run}, config.Folder}
}

// goTrainer is the reference trainer in a process.
type goTrainer struct {
	*trainerProcess

	folder string
}

// changed waits until an order has changed a seed.
func (p *goTrainer) changed(seed string, kind trainer.Kind) {
	p.t.Helper()
	eventually(p.t, fmt.Sprintf("%s of %s", kind, seed), growth, func() bool {
		p.mustRun()
		return p.hasChanged(seed, kind)
	})
}

func (p *goTrainer) hasChanged(seed string, kind trainer.Kind) bool {
	p.t.Helper()
	for _, event := range p.all("changed") {
		if event.Kind == string(kind) && event.Seed == seed {
			return true
		}
	}
	return false
}

// host is the host in a checkpoint, with its optimizer and its rate, as it lies there.
func (p *goTrainer) host(checkpoint string) string {
	p.t.Helper()
	content, err := os.ReadFile(filepath.Join(p.folder, checkpoint, "trainer.json"))
	if err != nil {
		p.t.Fatal(err)
	}
	var saved struct{ Weights, Moments, Rate json.RawMessage }
	if err := json.Unmarshal(content, &saved); err != nil {
		p.t.Fatal(err)
	}
	if len(saved.Weights) == 0 || len(saved.Moments) == 0 || len(saved.Rate) == 0 {
		p.t.Fatalf("checkpoint %s has no host: %.300s", checkpoint, content)
	}
	return fmt.Sprintf("%s\n%s\n%s", saved.Rate, saved.Weights, saved.Moments)
}
