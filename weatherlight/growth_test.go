package weatherlight

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"aead.dev/minisign"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/kasmina"
	"github.com/esper-lite/weatherlight/kasmina/graft"
	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/trainer"
	"github.com/esper-lite/weatherlight/weatherlight/internal/control"
	"github.com/esper-lite/weatherlight/weatherlight/internal/shmsignal/shmsignaltest"
)

// A trainer that halts by shared memory halts every run: one that has no shared memory
// with the service, too.
func TestEmergencyOfSharedMemoryReachesTheOrdersOfARun(t *testing.T) {
	name, path := shmsignaltest.Name(t)
	if err := os.WriteFile(path, make([]byte, 64), 0o600); err != nil {
		t.Fatal(err)
	}
	g := newGardenWith(t, "BP002", map[string]string{"TOLARIA_EMERGENCY_SIGNAL_NAME": name})
	if err := os.WriteFile(path, shmsignaltest.Emergency(byte(notice), 1, "look"), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the notice is told of", func() bool {
		return metricsOf(g.summaryPacket(t.Context()))["weatherlight.emergency.detections_total"] == 1
	})
	if err := os.WriteFile(path, shmsignaltest.Emergency(byte(halt), 100_000, "smoke"), 0o600); err != nil {
		t.Fatal(err)
	}
	var halted trainer.Order
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := connect(t, g.BusURL(), "reader").FollowOrders(ctx, trainer.Stream(gardenRun), func(command *leyline.AdaptationCommand) {
		order, err := trainer.ReadOrder(command)
		if halted = order; err != nil {
			t.Errorf("order %v: %v", command, err)
		}
		cancel()
	})
	if err != nil || halted.Kind != trainer.Emergency || halted.Level != halt || halted.Reason != "smoke" {
		t.Errorf("order %+v, %v", halted, err)
	}
	eventually(t, "the trainer is halted", func() bool { g.graft.Apply(); return g.graft.Halted() })
	// It came to the bus by us, and back: that is one emergency, not two.
	if told := metricsOf(g.summaryPacket(t.Context()))["weatherlight.emergency.detections_total"]; told != 2 {
		t.Errorf("%v emergencies are counted, there were a notice and a halt", told)
	}
	if view := g.view(); view.Kasmina.LastOrder != 1 || view.Kasmina.Emergency != halt.String() {
		t.Errorf("the run is %+v", view.Kasmina)
	}
	if err := g.stop(t); err != nil {
		t.Error(err)
	}
}

func TestRunsAndKernelsAreServed(t *testing.T) {
	g := newGarden(t, "BP002")
	g.command("germinate", "seed-1", leyline.SeedOperation_SEED_OP_GERMINATE)
	g.await("seed-1", leyline.SeedLifecycleStage_SEED_STAGE_TRAINING)
	var list struct {
		Runs []string
		Next string
	}
	if code, body := ask(t, g.Service, "/runs"); code != http.StatusOK || json.Unmarshal([]byte(body), &list) != nil ||
		!slices.Equal(list.Runs, []string{gardenRun}) || list.Next != "" {
		t.Errorf("/runs is %d %s", code, body)
	}
	if code, body := ask(t, g.Service, "/runs?after="+gardenRun); code != http.StatusOK || json.Unmarshal([]byte(body), &list) != nil || len(list.Runs) != 0 {
		t.Errorf("behind the last run: %d %s", code, body)
	}
	var view control.View
	code, body := ask(t, g.Service, "/runs/"+gardenRun)
	if err := json.Unmarshal([]byte(body), &view); code != http.StatusOK || err != nil {
		t.Fatalf("/runs/%s is %d %s, %v", gardenRun, code, body, err)
	}
	if view.Run != gardenRun || view.Tamiyo == nil || view.Kasmina.Trainer.ID != g.graft.TrainerID() {
		t.Errorf("the run is shown as %s", body)
	}
	sum := seedOf(t, &view, "seed-1").Checksum
	for path, want := range map[string]int{
		"/kernels/" + sum: http.StatusOK, "/kernels/" + sum + ".minisig": http.StatusNotFound,
		"/kernels/" + strings.Repeat("0", 64): http.StatusNotFound, "/kernels/": http.StatusNotFound, "/runs/no-such-run": http.StatusNotFound, "/runs/no%2Fsuch": http.StatusNotFound,
	} {
		code, body := ask(t, g.Service, path)
		if code != want {
			t.Errorf("%s is %d, want %d", path, code, want)
		}
		if code == http.StatusOK && kernel.Checksum([]byte(body)) != sum {
			t.Errorf("%s are other bytes", path)
		}
	}
	if err := g.stop(t); err != nil {
		t.Error(err)
	}
}

// seedOf is a seed of a run; the controller may have asked for others.
func seedOf(t *testing.T, view *control.View, id string) kasmina.SeedView {
	t.Helper()
	for _, seed := range view.Kasmina.Seeds {
		if seed.ID == id {
			return seed
		}
	}
	t.Fatalf("no seed %s in %+v", id, view.Kasmina.Seeds)
	return kasmina.SeedView{}
}

// A trainer of another machine, that trusts nobody but its own keys, and hosts
// whose path it cannot read.
func TestR6TrainerThatTrustsItsOwnKeysAttachesByHTTP(t *testing.T) {
	public, private, err := minisign.GenerateKey(rand.Reader)
	text, failed := private.MarshalText()
	file := filepath.Join(t.TempDir(), "urza.key")
	if err := errors.Join(err, failed, os.WriteFile(file, text, 0o600)); err != nil {
		t.Fatal(err)
	}
	var log lockedBuffer
	service, err := New(Config{
		Settings: loadSettings(t, map[string]string{"URZA_SIGNING_KEY_FILE": file}),
		Logger:   slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		t.Fatal(err)
	}
	r := start(t, service)
	g := newGardenFor(t, "BP002", r, func(c *graft.Config) {
		c.KernelAccess, c.Kernels.URL = []string{graft.AccessHTTP}, "http://"+r.HTTPAddr()
		c.TrustedKeys = []string{public.String()}
	})
	g.command("germinate", "seed-1", leyline.SeedOperation_SEED_OP_GERMINATE)
	g.await("seed-1", leyline.SeedLifecycleStage_SEED_STAGE_TRAINING)
	if err := g.stop(t); err != nil {
		t.Error(err)
	}
	if warned := strings.Count(log.String(), "WEATHERLIGHT_ADVERTISE_URL"); warned != 1 {
		t.Errorf("%d warnings that only this machine reaches the kernels:\n%s", warned, log.String())
	}
}

// lockedBuffer is a log that several goroutines write.
type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func TestR2GerminationByHandGrowsInATrainerOfAnotherProcess(t *testing.T) {
	g := newGarden(t, "BP002")
	g.blend("seed-1")
	seed := seedOf(t, g.view(), "seed-1")
	if seed.Measured[trainer.MetricLossAfter] != 0.5 || seed.LastFailure != "" {
		t.Errorf("Kasmina knows of it %+v", seed)
	}
	if err := g.stop(t); err != nil {
		t.Error(err)
	}
}

// Another Kasmina on the bus may hold the seed, and the bus may deliver a command twice.
func TestR3R4CommandsOfAPeersControllerAreNoDeadLetters(t *testing.T) {
	g := newGarden(t, "BP002")
	twice := g.signed("twice", "seed-1", leyline.SeedOperation_SEED_OP_GERMINATE)
	elsewhere := &leyline.AdaptationCommand{
		Version: 1, CommandId: "pause", CommandType: leyline.CommandType_COMMAND_PAUSE, TargetSeedId: "elsewhere",
		IssuedBy: "tamiyo", IssuedAt: timestamppb.Now(), Annotations: map[string]string{"training_run_id": gardenRun},
	}
	if err := g.keyring.SignCommand(elsewhere); err != nil {
		t.Fatal(err)
	}
	for _, command := range []*leyline.AdaptationCommand{twice, elsewhere, twice, twice} {
		if err := g.bus.Publish(t.Context(), oona.Message{Payload: command}); err != nil {
			t.Fatal(err)
		}
	}
	g.await("seed-1", leyline.SeedLifecycleStage_SEED_STAGE_TRAINING)
	eventually(t, "all commands are handled", func() bool {
		stats, err := g.bus.Stats(t.Context())
		return err == nil && stats.Streams["normal"].Backlog == 0
	})
	if drops := g.bus.Drops(); len(drops) != 0 {
		t.Errorf("refused %v", drops)
	}
	if seeds := g.view().Kasmina.Seeds; len(seeds) != 1 || seeds[0].ID != "seed-1" {
		t.Errorf("the repeated germination led to %+v", seeds)
	}
	if err := g.stop(t); err != nil {
		t.Error(err)
	}
}

func TestR8SeedsOutliveTheService(t *testing.T) {
	g := newGardenWith(t, "BP002", map[string]string{"REDIS_URL": redistest.Start(t).URL})
	g.blend("seed-1")
	if err := g.stop(t); err != nil {
		t.Fatal(err)
	}
	next, err := New(Config{Settings: g.settings})
	if err != nil {
		t.Fatal(err)
	}
	g.running = start(t, next)
	if stage := g.stage("seed-1"); stage != leyline.SeedLifecycleStage_SEED_STAGE_BLENDING {
		t.Errorf("the next service finds it in %s", stage)
	}
	eventually(t, "it grows on", func() bool {
		g.report()
		return g.stage("seed-1") > leyline.SeedLifecycleStage_SEED_STAGE_BLENDING
	})
	if err := g.stop(t); err != nil {
		t.Error(err)
	}
}

// A run that waits longer than usual has its answers read for longer, by all instances.
func TestAnswersAreReadForAsLongAsTheSettingsLetARunWait(t *testing.T) {
	redis := redistest.Start(t)
	g := newGardenWith(t, "BP002", map[string]string{"REDIS_URL": redis.URL, "KASMINA_PREFETCH_TIMEOUT_MS": "3600000"})
	g.command("germinate", "seed-1", leyline.SeedOperation_SEED_OP_GERMINATE)
	g.await("seed-1", inTraining)
	reply := replyTo(t, redis, "PTTL", "weatherlight:kasmina:awaits")
	if left, err := strconv.Atoi(strings.TrimPrefix(reply, ":")); err != nil || left < 3_600_000 {
		t.Errorf("answers are read for %s ms more, %v", reply, err)
	}
	if err := g.stop(t); err != nil {
		t.Error(err)
	}
}
