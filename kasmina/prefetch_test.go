package kasmina

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
)

func TestRequestNamesWhatItWants(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.do(opGerminate, "s")
		request := w.lastRequest()
		if !strings.HasPrefix(request.GetRequestId(), "prefetch-") || len(request.GetRequestId()) != 45 ||
			request.GetBlueprintId() != "BP001" || request.GetTrainingRunId() != "run-1" ||
			!request.GetIssuedAt().AsTime().Equal(time.Now()) {
			t.Errorf("request %v", request)
		}
	})
}

// eager answers a request before its publication returns.
type eager struct {
	w       *world
	answers chan error
}

func (e eager) PublishKernelPrefetchRequest(ctx context.Context, request *leyline.KernelPrefetchRequest) error {
	err := e.w.manager.HandleReady(ctx, e.w.ready(request))
	e.answers <- err
	return err
}

func TestAnswerFasterThanThePublicationIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		publisher := &eager{answers: make(chan error, 1)}
		w := newWorld(t, func(c *Config) { c.Requests = publisher })
		publisher.w = w
		w.do(opGerminate, "s")
		if err := <-publisher.answers; err != nil {
			t.Error(err)
		}
		w.wantStage("s", stageTraining)
	})
}

func TestUnansweredRequestIsRepeatedOnceAndThenFails(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.do(opGerminate, "s")
		first := w.lastRequest().GetRequestId()
		wait(6 * time.Second)
		if w.requestCount() != 2 || w.lastRequest().GetRequestId() == first {
			t.Fatalf("%d requests", w.requestCount())
		}
		w.wantStage("s", stageGerminated)
		wait(5 * time.Second)
		w.wantStage("s", stageEmbargoed)
		told := events(w.emitted(), "gate_failure")
		if len(told) != 1 || told[0].GetAttributes()["reason"] != "prefetch_timeout" || told[0].GetLevel() != levelCritical {
			t.Errorf("events %v", told)
		}
		if inflight := w.manager.Metrics()["kasmina.prefetch.inflight"]; inflight != 0 {
			t.Errorf("%v requests in flight", inflight)
		}
	})
}

func TestLateReadyAnswerIsStillAnAnswer(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.do(opGerminate, "s")
		late := w.ready(w.lastRequest())
		wait(6 * time.Second)
		w.answer(late)
		w.wantStage("s", stageTraining)
		w.answer(w.ready(w.lastRequest()))
		wait(time.Minute)
		w.wantStage("s", stageTraining)
		w.wantAttached("s")
	})
}

func TestSlowLibraryGetsMoreTime(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.do(opGerminate, "a")
		wait(4 * time.Second)
		w.answer(w.ready(w.lastRequest()))
		w.do(opGerminate, "b")
		wait(12 * time.Second)
		if w.requestCount() != 2 {
			t.Errorf("%d requests: the second was repeated too early", w.requestCount())
		}
	})
}

func TestRequestThatCannotBePublishedIsRolledBackAndTriedAgain(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.busFails(errors.New("bus is down"))
		w.do(opGerminate, "s")
		w.wantStage("s", stageGerminated)
		wait(2 * time.Second)
		w.busFails(nil)
		wait(2 * time.Second)
		w.answer(w.ready(w.lastRequest()))
		w.wantStage("s", stageTraining)
	})
}

func TestBusThatStaysDownDoesNotLeaveTheSeedBehind(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.busFails(errors.New("bus is down"))
		w.do(opGerminate, "s")
		wait(11 * time.Second)
		w.wantStage("s", stageEmbargoed)
	})
}

func TestErrorAnswerFailsTheGate(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		for i, reason := range []string{"missing_artifact", ""} {
			id := string(rune('a' + i))
			w.do(opGerminate, id)
			refusal := &leyline.KernelArtifactError{
				RequestId: w.lastRequest().GetRequestId(), BlueprintId: "BP001", Reason: reason,
			}
			if err := w.manager.HandleError(w.ctx, refusal); err != nil {
				t.Fatal(err)
			}
			w.wantStage(id, stageEmbargoed)
		}
		told := events(w.emitted(), "prefetch_error")
		if len(told) != 2 || told[0].GetAttributes()["reason"] != "missing_artifact" ||
			told[1].GetAttributes()["reason"] != "unspecified" {
			t.Errorf("events %v", told)
		}
	})
}

func TestAnswersForNobodyAreNothingToDo(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.answer(&leyline.KernelArtifactReady{RequestId: "prefetch-of-another", BlueprintId: "BP001"})
		w.answer(nil)
		if err := w.manager.HandleError(w.ctx, nil); err != nil {
			t.Error(err)
		}
		w.do(opGerminate, "s")
		ready := w.ready(w.lastRequest())
		w.do(opCancel, "s")
		w.answer(ready)
		w.wantStage("s", stageUnknown)
		w.wantAttached()
		wait(300 * time.Millisecond) // such answers show with the next sweep
		if unknown := w.manager.Metrics()["kasmina.prefetch.unknown_total"]; unknown != 4 {
			t.Errorf("unknown answers: %v", unknown)
		}
	})
}

func TestCulledWhileTheKernelIsReadStaysOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reading, proceed := make(chan struct{}), make(chan struct{})
		var w *world
		w = newWorld(t, func(c *Config) {
			c.Open = func(ctx context.Context, ref string) (io.ReadCloser, error) {
				close(reading)
				<-proceed
				return w.open(ctx, ref)
			}
		})
		w.do(opGerminate, "s")
		answered := make(chan error, 1)
		ready := w.ready(w.lastRequest())
		go func() { answered <- w.manager.HandleReady(w.ctx, ready) }()
		<-reading
		wait(time.Minute) // the answer has come: no timeout while it is read
		w.wantStage("s", stageGerminated)
		w.do(opCull, "s")
		close(proceed)
		if err := <-answered; err != nil {
			t.Error(err)
		}
		w.wantAttached()
		w.wantStage("s", stageEmbargoed)
	})
}

func TestAnswerThatAStopCutShortIsWorthARetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		manager, err := NewManager(Config{Open: func(ctx context.Context, _ string) (io.ReadCloser, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- manager.Run(ctx) }()
		synctest.Wait()
		order := seedOrder{seedID: "s", blueprintID: "BP001", runID: "r"}
		request := plantDirectly(t, manager, order)
		answered := make(chan error, 1)
		go func() {
			answered <- manager.HandleReady(context.Background(),
				&leyline.KernelArtifactReady{RequestId: request, BlueprintId: "BP001"})
		}()
		synctest.Wait()
		cancel()
		if err := <-answered; !errors.Is(err, ErrStopped) {
			t.Errorf("got %v", err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// planted puts a waiting seed into the registry without a command.
type planted struct {
	order   seedOrder
	request chan string
}

func (p planted) handle(m *Manager, done func(error)) {
	s := newSeed(p.order)
	m.seeds = append(m.seeds, s)
	m.move(s, stageGerminated)
	s.wait = m.prefetch.begin(s.id, s.blueprintID, s.runID)
	p.request <- m.prefetch.attempt(s.wait, time.Now()).GetRequestId()
	done(nil)
}

func plantDirectly(t *testing.T, m *Manager, order seedOrder) string {
	t.Helper()
	p := planted{order: order, request: make(chan string, 1)}
	if err := m.ask(context.Background(), p); err != nil {
		t.Fatal(err)
	}
	return <-p.request
}

func TestTwoSeedsShareABlueprintButNoParameters(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.plant("a")
		w.plant("b")
		w.wantStage("b", stageTraining)
		w.graft.Parameters("a")[0].Value.Data[0] = 42
		if got := w.graft.Parameters("b")[0].Value.Data[0]; got != 0 {
			t.Errorf("b has a's weight %v", got)
		}
		w.do(opCancel, "a")
		w.plant("a")
		if got := w.graft.Parameters("a")[0].Value.Data[0]; got != 0 {
			t.Errorf("a retired kernel lives on with weight %v", got)
		}
	})
}

func TestOpenBreakerDefersGerminationWithoutHarm(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		for i := range breakerThreshold {
			w.do(opGerminate, string(rune('a'+i)))
			w.answer(&leyline.KernelArtifactReady{
				RequestId: w.lastRequest().GetRequestId(), BlueprintId: "BP001", ArtifactRef: "gone",
			})
		}
		w.rejects(w.command(opGerminate, "s"), ReasonBreakerOpen)
		w.wantStage("s", stageUnknown)
		wait(time.Minute)
		w.plant("s")
		w.wantStage("s", stageTraining)
	})
}
