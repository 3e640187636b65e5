package kasmina

import (
	"strings"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/kasmina/internal/lifecycle"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

func TestGuardDigestsAreThoseOfPython(t *testing.T) {
	t.Parallel()
	for want, slot := range map[string][]int{
		"c0e3ed3adc7800b37bf6f90a7156046c87111dcef83232afad8a9e0addde055f": {32},
		"b2fd2f05c3298470835b454526892d28cae85e9c429091891d8b2429bfddf46a": {8, 16, 16},
	} {
		if got := guardDigest(slot); got != want {
			t.Errorf("slot %v: %s", slot, got)
		}
	}
	if !isFallbackGuard("9a5eaf960ee82f238e3ac7bf673eb902f4759fc4efda61f491848649717fb49e", "BP001") {
		t.Error("the fallback digest of BP001")
	}
}

func TestRequestIdsTellWhereTheAnswerBelongs(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", maxIDLength)
	for _, name := range []requestName{
		{run: "run-1", seed: "s", nonce: 1, attempt: 1},
		{run: "Lauf ü/.", seed: "a.b c", nonce: 1<<62 + 7, attempt: 2},
		{run: long, seed: long, nonce: 1 << 62, attempt: 2},
	} {
		id := name.String()
		if got, ok := readRequestName(id); !ok || got != name || len(id) > 400 {
			t.Errorf("%s reads as %+v", id, got)
		}
		if run, ok := RunOfRequest(id); !ok || run != name.run {
			t.Errorf("run %q of %s", run, id)
		}
	}
	for _, id := range []string{
		"", "prefetch-", "prefetch-5b0c9f6e-aaaa-4bbb-8ccc-ddddeeeeffff", "prefetch-cnVu.cw.1", "prefetch-cnVu.cw.1.0",
		"prefetch-.cw.1.1", "prefetch-cnVu.!.1.1", "request-cnVu.cw.1.1", "prefetch-" + strings.Repeat("a", 2000),
	} {
		if run, ok := RunOfRequest(id); ok {
			t.Errorf("%.40q is for run %q", id, run)
		}
	}
}

func TestUnansweredRequestIsRepeatedOnceAndThenFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.do(opGerminate, "s")
	first := w.lastRequest().GetRequestId()
	w.wait(6 * time.Second)
	if len(w.requests) != 2 || w.lastRequest().GetRequestId() == first {
		t.Fatalf("%d requests", len(w.requests))
	}
	w.wantStage("s", lifecycle.Germinated)
	w.wait(5 * time.Second)
	w.wantStage("s", lifecycle.Embargoed)
	if event, attributes := w.told("gate_failure"); attributes["reason"] != "prefetch_timeout" || event.GetLevel() != levelCritical {
		t.Errorf("event %v", event)
	}
	if len(w.orders) != 0 {
		t.Errorf("orders %v", w.kinds())
	}
}

func TestLateAnswerIsStillAnAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.do(opGerminate, "s")
	late := w.ready(w.lastRequest())
	w.wait(6 * time.Second)
	w.decide(late)
	w.decide(w.ready(w.lastRequest()))
	w.report()
	w.wantStage("s", lifecycle.Training)
	if got := w.kinds(); len(got) != 1 {
		t.Errorf("orders %v", got)
	}
	if got := point(counted(w.counters), "kasmina.prefetch.unknown_total").GetValue(); got != 1 {
		t.Errorf("%v unknown answers", got)
	}
}

func TestSlowLibraryGetsMoreTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.do(opGerminate, "a")
	w.wait(4 * time.Second)
	w.decide(w.ready(w.lastRequest()))
	w.do(opGerminate, "b")
	w.wait(12 * time.Second)
	if len(w.requests) != 2 {
		t.Errorf("%d requests: the second was repeated too early", len(w.requests))
	}
}

func TestAnswersForNobodyAreNothingToDo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.do(opGerminate, "s")
	ready := w.ready(w.lastRequest())
	w.do(opCancel, "s")
	before := stored(t, w.record)
	w.decide(ready)
	w.decide(Ready{})
	w.decide(Refusal{})
	w.decide(Refusal{&leyline.KernelArtifactError{RequestId: "prefetch-of-another"}})
	if stored(t, w.record) != before || len(w.orders) != 0 {
		t.Errorf("orders %v", w.kinds())
	}
	w.do(opGerminate, "s")
	if w.decide(ready); len(w.orders) != 0 {
		t.Error("an answer to a former wait was taken")
	}
}

func TestAnnouncedKernelIsComparedBeforeATrainerHearsOfIt(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		spoil  func(*Ready)
		reason string
	}{
		{"another blueprint", func(r *Ready) { r.Ready.BlueprintId = "BP002" }, "blueprint_mismatch"},
		{"no checksum", func(r *Ready) { r.Ready.Checksum = "" }, "invalid_checksum"},
		{"half a checksum", func(r *Ready) { r.Ready.Checksum = r.Ready.Checksum[:32] }, "invalid_checksum"},
		{"no hex", func(r *Ready) { r.Ready.Checksum = strings.Repeat("x", 64) }, "invalid_checksum"},
		{"no guard", func(r *Ready) { r.Ready.GuardDigest = "" }, "guard_mismatch"},
		{"another format", func(r *Ready) { r.Attributes["format"] = "pt" }, "kernel_format"},
		{"a path without end", func(r *Ready) { r.Ready.ArtifactRef = strings.Repeat("a", 5000) }, "artifact_unreadable"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := announced(t, tt.spoil)
			w.wantStage("s", lifecycle.Embargoed)
			if _, attributes := w.told("gate_failure"); attributes["reason"] != tt.reason || len(w.orders) != 0 {
				t.Errorf("event %v, orders %v", attributes, w.kinds())
			}
		})
	}
}

func TestSlotThatChangedMeanwhileFailsTheInterfaceGate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.do(opGerminate, "s")
	w.trainer.slots = map[string][]int{"hidden": {4}}
	w.report()
	w.decide(w.ready(w.lastRequest()))
	w.wantStage("s", lifecycle.Embargoed)
	w.wantTold("gate_failure", "interface checks incomplete")
}

func TestWithoutAPathOrAURLNothingIsOrdered(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.ArtifactURL = "" })
	w.meet()
	w.do(opGerminate, "s")
	ready := w.ready(w.lastRequest())
	ready.Ready.ArtifactRef = ""
	w.decide(ready)
	w.wantStage("s", lifecycle.Embargoed)
	if len(w.orders) != 0 {
		t.Errorf("orders %v", w.kinds())
	}
}

func TestFailedAttachSpeaksAgainstABlueprintOnlyWhereTheKernelIsAtFault(t *testing.T) {
	t.Parallel()
	for failure := trainer.AttachUnspecified + 1; failure <= trainer.AttachNoRoom; failure++ {
		t.Run(failure.Reason(), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.meet()
			w.trainer.failing = failure
			w.do(opGerminate, "s")
			w.decide(w.ready(w.lastRequest()))
			w.report()
			w.wantStage("s", lifecycle.Embargoed)
			w.wantTold("gate_failure", failure.Reason())
			if got := len(WrittenOff(w.record)) == 1; got != failure.OfKernel() {
				t.Errorf("written off: %v", WrittenOff(w.record))
			}
			w.report()
			w.report()
			w.wait(time.Minute)
			w.wantStage("s", lifecycle.Unknown)
			if len(w.record.Pending) != 0 {
				t.Errorf("pending %+v", w.record.Pending)
			}
		})
	}
}

func TestLibraryThatNeverAnswersOpensTheBreaker(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	for _, id := range []string{"a", "b", "c"} {
		w.do(opGerminate, id)
		w.wait(11 * time.Second)
	}
	before := stored(t, w.record)
	w.rejects(w.command(opGerminate, "d"), ReasonBreakerOpen)
	if stored(t, w.record) != before {
		t.Error("the refusal changed the record")
	}
	w.wait(time.Minute)
	w.do(opGerminate, "d")
	w.rejects(w.command(opGerminate, "e"), ReasonBreakerOpen) // one probe at a time
	w.decide(w.ready(w.lastRequest()))
	w.report()
	w.plant("e")
	if w.record.Breaker.state() != circuitClosed {
		t.Errorf("breaker %+v", w.record.Breaker)
	}
}

func TestIsolationPausesASeedAndLetsItGoOnWhenItIsClean(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	w.plant("s")
	w.trainer.spoil = spoiled("host_gradient_max", 0.1)
	w.report()
	w.report()
	if !w.trainer.seeds[0].paused {
		t.Fatal("not paused")
	}
	w.trainer.spoil = nil
	for range 6 {
		w.report()
	}
	if w.trainer.seeds[0].paused || NewView(w.record).Seeds[0].Violations != 0 {
		t.Errorf("seed %+v", NewView(w.record).Seeds[0])
	}
	w.grow("s", lifecycle.Blending)
	if w.record.Violations != 2 {
		t.Errorf("%d violations of the run", w.record.Violations)
	}
}
