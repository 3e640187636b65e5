package weatherlight

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/supervise"
)

// In conservative mode an older peer sends everything to the emergency stream.
func TestRequestDivertedByAnOlderPeerIsStillAnswered(t *testing.T) {
	r := start(t, newService(t, nil))
	trainer := connect(t, r.BusURL(), "trainer")
	answers := listen(t, trainer, "oona.kernels.errors", "trainer", leyline.BusMessageType_BUS_MESSAGE_TYPE_KERNEL_PREFETCH_ERROR)
	request := &leyline.KernelPrefetchRequest{
		RequestId: "req-1", BlueprintId: "BP050", TrainingRunId: "run-1", IssuedAt: timestamppb.Now(),
	}
	if err := trainer.Publish(t.Context(), oona.Message{Stream: onEmergency, Payload: request}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the answer", func() bool { return len(answers.deliveries()) == 1 })
	if got := heardOf[*leyline.KernelArtifactError](answers)[0]; got.GetRequestId() != "req-1" || got.GetReason() != "missing_artifact" {
		t.Errorf("answer %v", got)
	}
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
}

func TestForgedCommandIsSetAsideAndTheNextIsObeyed(t *testing.T) {
	g := newGarden(t, "BP002")
	forged := &leyline.AdaptationCommand{
		Version: 1, CommandId: "forged", CommandType: leyline.CommandType_COMMAND_SEED, TargetSeedId: "seed-0",
		IssuedAt: timestamppb.Now(), Annotations: map[string]string{"signature": "bm8="},
	}
	if err := g.bus.Publish(t.Context(), oona.Message{Payload: forged}); err != nil {
		t.Fatal(err)
	}
	g.command("good", "seed-1", leyline.SeedOperation_SEED_OP_GERMINATE)
	g.await("seed-1", leyline.SeedLifecycleStage_SEED_STAGE_TRAINING)
	if got := g.stage("seed-0"); got != leyline.SeedLifecycleStage_SEED_STAGE_UNKNOWN {
		t.Errorf("the forged command made a seed in %s", got)
	}
	deadLetters := func() float64 { return metricsOf(g.summaryPacket(t.Context()))["oona.dead_letter_total"] }
	eventually(t, "the forged command is counted", func() bool { return deadLetters() > 0 })
	want := []oona.Drop{{Reason: "permanent", Stream: "oona.normal", Count: 1}}
	if got := g.bus.Drops(); deadLetters() != 1 || !slices.Equal(got, want) {
		t.Errorf("%v dead letters, set aside %v, want %v", deadLetters(), got, want)
	}
	if err := g.stop(t); err != nil {
		t.Error(err)
	}
}

func TestFatalFailureOfAWorkerStopsTheServiceInGoodOrder(t *testing.T) {
	service := newService(t, nil)
	r := start(t, service)
	fatal := supervise.WorkerFunc(func(context.Context) error { return supervise.Fatal(errBroken) })
	if err := service.supervisor.Start(t.Context(), supervise.Spec{Name: "fatal", Worker: fatal}); err != nil {
		t.Fatal(err)
	}
	if err := <-r.done; !errors.Is(err, errBroken) || !strings.Contains(err.Error(), "fatal worker failure") {
		t.Errorf("Run = %v", err)
	}
}

func TestWorkerThatIgnoresTheStopIsNamedAndLeftBehind(t *testing.T) {
	service := newService(t, map[string]string{"ASYNC_WORKER_SHUTDOWN_TIMEOUT_S": "2"})
	r := start(t, service)
	release := make(chan struct{})
	deaf := supervise.WorkerFunc(func(context.Context) error { <-release; return nil })
	if err := service.supervisor.Start(t.Context(), supervise.Spec{Name: "deaf", Worker: deaf}); err != nil {
		t.Fatal(err)
	}
	err := r.stop(t)
	var left *supervise.UnstoppedError
	if !errors.As(err, &left) || !slices.Equal(left.Names, []string{"deaf"}) {
		t.Errorf("stop = %v, want that deaf did not stop", err)
	}
	close(release)
}

func TestSecondSignalLeavesAtOnce(t *testing.T) {
	service := newService(t, nil)
	r := start(t, service)
	release := make(chan struct{})
	deaf := supervise.WorkerFunc(func(context.Context) error { <-release; return nil })
	if err := service.supervisor.Start(t.Context(), supervise.Spec{Name: "deaf", Worker: deaf}); err != nil {
		t.Fatal(err)
	}
	r.cancel()
	eventually(t, "the stop begins", func() bool { return !service.accepting.Load() })
	service.Interrupt()
	err := <-r.done
	if err == nil || !strings.Contains(err.Error(), "deaf") {
		t.Errorf("stop = %v", err)
	}
	close(release)
}

// A kernel that cannot be read is refused, and the library counts as there: requests
// for the others go on being answered.
func TestR29KernelThatCannotBeReadStopsNoOtherRequest(t *testing.T) {
	r := start(t, newService(t, nil))
	trainer := connect(t, r.BusURL(), "trainer")
	ready := listen(t, trainer, "oona.kernels.ready", "trainer", leyline.BusMessageType_BUS_MESSAGE_TYPE_KERNEL_PREFETCH_READY)
	refused := listen(t, trainer, "oona.kernels.errors", "trainer", leyline.BusMessageType_BUS_MESSAGE_TYPE_KERNEL_PREFETCH_ERROR)
	for _, id := range []string{"unreadable", "good"} {
		saved, err := r.library.Save(t.Context(), &leyline.BlueprintDescriptor{BlueprintId: id}, []byte(id), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if id == "unreadable" {
			spoilFile(t, saved.GetArtifactRef())
		}
		request := &leyline.KernelPrefetchRequest{
			RequestId: id, BlueprintId: id, TrainingRunId: "run-1", IssuedAt: timestamppb.Now(),
		}
		if err := trainer.Publish(t.Context(), oona.Message{Payload: request}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "both answers", func() bool { return len(ready.deliveries()) == 1 && len(refused.deliveries()) == 1 })
	got := heardOf[*leyline.KernelArtifactError](refused)[0]
	if got.GetRequestId() != "unreadable" || got.GetReason() != "artifact_not_found" {
		t.Errorf("refused %v", got)
	}
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
}
