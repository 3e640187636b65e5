package weatherlight

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/supervise"
)

func announceAll(t *testing.T, forwarder *catalogForwarder, ids []string) {
	t.Helper()
	for _, id := range ids {
		if err := forwarder.Announce(t.Context(), &leyline.KernelCatalogUpdate{BlueprintId: id}); err != nil {
			t.Errorf("announce %s: %v", id, err)
		}
	}
}

func TestKernelCompiledDuringAnOutageIsAnnouncedOnceAndInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := &fakeBus{down: true}
		forwarder := newCatalogForwarder(bus)
		stop := run(t, forwarder)
		ids := numbered(forwardQueueSize)
		announceAll(t, forwarder, ids)
		time.Sleep(time.Minute)
		bus.set(false)
		time.Sleep(2 * forwardRetry)
		stop()
		if diff := cmp.Diff(ids, bus.ids()); diff != "" {
			t.Error("announced (-want +got):", diff)
		}
	})
}

func TestAnnouncementInHandSurvivesARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := &fakeBus{down: true}
		forwarder := newCatalogForwarder(bus)
		ids := numbered(3)
		announceAll(t, forwarder, ids)
		stop := run(t, forwarder)
		time.Sleep(time.Second)
		stop()
		bus.set(false)
		stop = run(t, forwarder)
		synctest.Wait()
		stop()
		if diff := cmp.Diff(ids, bus.ids()); diff != "" {
			t.Error("announced (-want +got):", diff)
		}
	})
}

func TestAnnouncementsStillQueuedAtTheStopGoOut(t *testing.T) {
	bus := &fakeBus{}
	forwarder := newCatalogForwarder(bus)
	ids := numbered(10)
	announceAll(t, forwarder, ids)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := forwarder.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(ids, bus.ids()); diff != "" {
		t.Error("announced (-want +got):", diff)
	}
}

func TestRefusedAnnouncementDoesNotStopTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := &fakeBus{refused: map[string]error{"p0001": oona.ErrTooLarge}}
		forwarder := newCatalogForwarder(bus)
		s := supervise.New(supervise.Config{})
		if err := s.Start(t.Context(), supervise.Spec{Name: "forwarder", Worker: forwarder}); err != nil {
			t.Fatal(err)
		}
		announceAll(t, forwarder, numbered(4))
		time.Sleep(10 * time.Second)
		if got := s.Status()[0]; got.Restarts != 1 || got.LastError == "" {
			t.Errorf("the refusal left no trace: %+v", got)
		}
		if err := s.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]string{"p0000", "p0002", "p0003"}, bus.ids()); diff != "" {
			t.Error("announced (-want +got):", diff)
		}
	})
}

func TestForgeThatIsToldToStopDoesNotWaitForTheBus(t *testing.T) {
	forwarder := newCatalogForwarder(&fakeBus{down: true})
	announceAll(t, forwarder, numbered(forwardQueueSize))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := forwarder.Announce(ctx, &leyline.KernelCatalogUpdate{BlueprintId: "BP001"})
	if !errors.Is(err, context.Canceled) || fmt.Sprint(err) != "announce kernel BP001: context canceled" {
		t.Errorf("Announce = %v", err)
	}
}
