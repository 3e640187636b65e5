package kasmina

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/esper-lite/weatherlight/kasmina/internal/lifecycle"
	"github.com/esper-lite/weatherlight/leyline"
)

func TestRecordsThatNoCoreMadeAreRefused(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"nothing":           ``,
		"no JSON":           `{`,
		"another version":   `{"v":2,"run":"r"}`,
		"no run":            `{"v":1}`,
		"long run":          `{"v":1,"run":"` + strings.Repeat("r", 200) + `"}`,
		"no seed":           `{"v":1,"run":"r","s":[null]}`,
		"a seed twice":      `{"v":1,"run":"r","s":[{"i":"a","s":3},{"i":"a","s":3}]}`,
		"seed without id":   `{"v":1,"run":"r","s":[{"s":3}]}`,
		"culled at rest":    `{"v":1,"run":"r","s":[{"i":"a","s":8}]}`,
		"no such stage":     `{"v":1,"run":"r","s":[{"i":"a","s":99}]}`,
		"target behind":     `{"v":1,"run":"r","s":[{"i":"a","s":3,"t":1}]}`,
		"waits while grown": `{"v":1,"run":"r","s":[{"i":"a","s":3,"w":{"n":1,"t":[1],"d":1}}]}`,
		"no shape":          `{"v":1,"run":"r","s":[{"i":"a","s":2}]}`,
		"order of nothing":  `{"v":1,"run":"r","p":[{"n":5,"f":5,"k":"drop"}]}`,
		"order backwards":   `{"v":1,"run":"r","o":9,"p":[{"n":5,"f":6,"k":"drop"}]}`,
		"endless orders":    `{"v":1,"run":"r","o":99999999999}`,
		"too large":         `{"v":1,"run":"` + strings.Repeat(" ", maxRecordBytes) + `"}`,
	} {
		if _, err := DecodeRecord([]byte(text)); !errors.Is(err, ErrRecord) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzDecodeRecord(f *testing.F) {
	w := fourSeeds(f)
	f.Add([]byte(stored(f, w.record)))
	w.grow(w.record.Seeds[0].ID, lifecycle.Shadowing)
	w.do(opCull, w.record.Seeds[1].ID)
	f.Add([]byte(stored(f, w.record)))
	f.Add([]byte(`{"v":1,"run":"run-1"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		record, err := DecodeRecord(text)
		if err != nil {
			return
		}
		if _, err := json.Marshal(record); err != nil {
			t.Fatalf("what was read cannot be stored: %v", err)
		}
		NewView(record)
		States(record)
		core := NewCore(Config{})
		fake := newFakeTrainer("trainer-1")
		for _, message := range []Message{Tick{}, fake.report(noon), Emergency{Level: 4}} {
			if d := core.Decide(record, message, noon); d.Record != nil {
				record = d.Record
			}
		}
		if _, err := json.Marshal(record); err != nil {
			t.Fatalf("what was decided cannot be stored: %v", err)
		}
	})
}

func TestDueIsTheNextThingThatHappens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.report()
	if want := w.now.Add(time.Minute); !w.last.Due.Equal(want) {
		t.Errorf("due %v, want %v: the run falls silent", w.last.Due, want)
	}
	w.do(opGerminate, "s")
	if want := w.now.Add(5 * time.Second); !w.last.Due.Equal(want) {
		t.Errorf("due %v, want %v: the request is repeated", w.last.Due, want)
	}
	w.do(opCull, "s")
	if want := w.now.Add(30 * time.Second); !w.last.Due.Equal(want) {
		t.Errorf("due %v, want %v: the embargo ends", w.last.Due, want)
	}
	if d := w.core.Decide(w.record, Tick{}, w.now); d.Record != nil || d.Due.IsZero() {
		t.Errorf("an early tick gave %+v", d)
	}
}

func TestViewIsReadable(t *testing.T) {
	t.Parallel()
	if NewView(nil) != nil || States(nil) != nil || len(BlendingSeeds(nil)) != 0 || WrittenOff(nil) != nil {
		t.Error("something is known of no run")
	}
	w := newWorld(t)
	w.meet()
	w.plant("s")
	w.grow("s", lifecycle.Blending)
	view := NewView(w.record)
	seed := view.Seeds[0]
	if view.Trainer.ID != "trainer-1" || seed.Stage != "SEED_STAGE_BLENDING" || seed.Measured["loss_after"] != 0.5 ||
		seed.LastGate != "SEED_GATE_G2_STABILITY" || view.Breaker != "CIRCUIT_STATE_CLOSED" {
		t.Errorf("view %+v", view)
	}
	if diff := cmp.Diff(map[string][]string{"BP001": {"s"}}, BlendingSeeds(w.record)); diff != "" {
		t.Error(diff)
	}
	states := States(w.record)
	states[0].Stage, states[0].Metrics["alpha"] = lifecycle.Culled, 9
	w.wantStage("s", lifecycle.Blending)
	w.do(opCull, "s")
	if until := NewView(w.record).Seeds[0].EmbargoUntil; until == nil || !until.Equal(w.now.Add(30*time.Second)) {
		t.Errorf("embargo until %v", until)
	}
	if pending := NewView(w.record).Pending; len(pending) != 1 || pending[0].Kind != "drop" {
		t.Errorf("pending %+v", pending)
	}
}

func TestViewSaysWhereASeedWentAndWhyNothingGrows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.plant("s")
	w.grow("s", lifecycle.Blending)
	w.do(opCull, "s")
	ended := w.now
	w.now = w.now.Add(time.Minute)
	w.report()
	view := NewView(w.record)
	want := []EndedView{{
		ID: "s", Blueprint: "BP001", Slot: "hidden", Stage: "SEED_STAGE_BLENDING", Reason: "retired", At: ended,
	}}
	if diff := cmp.Diff(want, view.Ended); diff != "" || len(view.Seeds) != 0 {
		t.Errorf("seeds %+v, ended (-want +got):\n%s", view.Seeds, diff)
	}
	w.decide(Emergency{Level: pausingLevel, Reason: "loss explodes", Origin: "test", ID: "1"})
	for range breakerThreshold {
		w.record.Breaker.fail(momentOf(w.now))
	}
	view = NewView(w.record)
	if view.Because != "loss explodes" || view.OpenUntil == nil || !view.OpenUntil.Equal(w.now.Add(breakerCooldown)) {
		t.Errorf("emergency because of %q, circuit open until %v", view.Because, view.OpenUntil)
	}
}

func TestCountersCountEachDecisionOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.plant("s")
	w.do(opGerminate, "t")
	w.decide(Refusal{&leyline.KernelArtifactError{RequestId: w.lastRequest().GetRequestId(), Reason: "missing"}})
	w.rejects(w.command(opTune, "unknown"), ReasonUnknownSeed)
	points := counted(w.counters)
	for _, want := range []struct {
		name, text string
		value      float64
	}{
		{"kasmina.command_verifier.accepted_total", "", 2},
		{"kasmina.command_verifier.rejections_total", "unknown_seed", 1},
		{"kasmina.prefetch.requests_total", "scheduled", 2},
		{"kasmina.prefetch.requests_total", "ready", 1},
		{"kasmina.prefetch.requests_total", "error", 1},
		{"kasmina.culls_total", "missing", 1},
		{"kasmina.orders_total", "attach", 1},
		{"kasmina.gates_total", "SEED_GATE_G0_SANITY", 2},
	} {
		texts := []string{}
		if want.text != "" {
			texts = append(texts, want.text)
		}
		if got := point(points, want.name, texts...); got.GetValue() != want.value {
			t.Errorf("%s %s is %v, want %v", want.name, want.text, got.GetValue(), want.value)
		}
	}
}

func TestFloodOfEventsFillsOnePacketAndTheLossIsCounted(t *testing.T) {
	t.Parallel()
	var list eventList
	for range maxPendingEvents + 10 {
		list.add("e", levelInfo)
	}
	events, dropped := list.take("seed_queue_dropped", "seed_id", "s")
	if dropped != 10 || len(events) != maxPendingEvents+1 || events[0].GetAttributes()["dropped"] != "10" || !list.empty() {
		t.Errorf("%d events, %d dropped, first %v", len(events), dropped, events[0])
	}
}
