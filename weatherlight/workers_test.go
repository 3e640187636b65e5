package weatherlight

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/supervise"
)

func TestStepOfDeafWorkersDoesNotOutlastItsBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const bound, grace = 3 * time.Second, 500 * time.Millisecond
		s := supervise.New(supervise.Config{SoftStop: time.Second, HardStop: time.Second})
		release := make(chan struct{})
		deaf := supervise.WorkerFunc(func(context.Context) error { <-release; return nil })
		var specs []supervise.Spec
		for i := range 12 {
			specs = append(specs, supervise.Spec{Name: fmt.Sprint("deaf-", i), Worker: deaf})
			if err := s.Start(t.Context(), specs[i]); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), bound)
		defer cancel()
		begun := time.Now()
		err := crew{specs, s}.stop(ctx)
		if took := time.Since(begun); took > bound+grace {
			t.Errorf("the step took %v of %v", took, bound)
		}
		for _, spec := range specs {
			if err == nil || !strings.Contains(err.Error(), spec.Name) {
				t.Errorf("%v does not name %s", err, spec.Name)
			}
		}
		close(release)
	})
}

func TestMessageOfAnotherTypeIsNotRetried(t *testing.T) {
	calls := 0
	handler := typed(func(context.Context, *leyline.EmergencySignal) ([]oona.Message, error) {
		calls++
		return nil, errBroken
	})
	for _, payload := range []*oona.Delivery{{}, {Payload: &leyline.TelemetryPacket{}}} {
		_, err := handler(t.Context(), payload)
		if err == nil || calls != 0 {
			t.Errorf("payload %T reached the handler", payload.Payload)
		}
		if permanent := oona.Permanent(errBroken); reflect.TypeOf(err) != reflect.TypeOf(permanent) {
			t.Errorf("%v would be retried", err)
		}
	}
	if _, err := handler(t.Context(), &oona.Delivery{Payload: &leyline.EmergencySignal{}}); !errors.Is(err, errBroken) || calls != 1 {
		t.Errorf("the right payload: %v, %d calls", err, calls)
	}
}

func TestStepWhoseSecondWorkerFailsLeavesNothingRunning(t *testing.T) {
	s := supervise.New(supervise.Config{})
	waits := supervise.WorkerFunc(func(ctx context.Context) error { <-ctx.Done(); return nil })
	fails := supervise.WorkerFunc(func(context.Context) error { return supervise.Permanent(errBroken) })
	list := []supervise.Spec{
		{Name: "first", Worker: waits}, {Name: "second", Worker: fails, AwaitReady: true}, {Name: "third", Worker: waits},
	}
	err := crew{list, s}.start(t.Context())
	if !errors.Is(err, errBroken) || !strings.Contains(err.Error(), "second") {
		t.Errorf("start = %v, want the failure of the second", err)
	}
	for _, worker := range s.Status() {
		if !worker.State.AtRest() {
			t.Errorf("%s is left %s", worker.Name, worker.State)
		}
		if worker.Name == "third" {
			t.Error("the third was started")
		}
	}
}
