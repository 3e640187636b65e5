package kasmina

import (
	"encoding/hex"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/leyline"
)

func TestCommandsAreVerifiedInOrder(t *testing.T) {
	tests := []struct {
		name   string
		sign   func(*leyline.AdaptationCommand) // before the signature
		spoil  func(*leyline.AdaptationCommand) // after it
		reason string
		level  leyline.TelemetryLevel
	}{
		{"unsigned", nil, annotateAfter("signature", ""), ReasonMissingSignature, levelCritical},
		{"forged", nil, annotateAfter("signature", "AAAA"), ReasonInvalidSignature, levelCritical},
		{"changed", nil, annotateAfter("training_run_id", "other"), ReasonInvalidSignature, levelCritical},
		{"no id", func(c *leyline.AdaptationCommand) { c.CommandId = "" }, nil, ReasonMissingCommandID, levelError},
		{"no time", func(c *leyline.AdaptationCommand) { c.IssuedAt = nil }, nil, ReasonMissingTimestamp, levelCritical},
		{"future", issuedIn(6 * time.Second), nil, ReasonIssuedInFuture, levelError},
		{"stale", issuedIn(-61 * time.Second), nil, ReasonStaleCommand, levelCritical},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				if tt.sign == nil {
					tt.sign = func(*leyline.AdaptationCommand) {}
				}
				command := w.command(opGerminate, "s", tt.sign)
				if tt.spoil != nil {
					tt.spoil(command)
				}
				before := proto.CloneOf(command)
				w.rejects(command, tt.reason)
				w.wantStage("s", stageUnknown)
				if !proto.Equal(before, command) {
					t.Error("the caller's command was changed")
				}
				wait(time.Second)
				w.finalize(-1)
				told := events(w.emitted(), "command_rejected")
				if len(told) != 1 || told[0].GetLevel() != tt.level || told[0].GetAttributes()["reason"] != tt.reason ||
					told[0].GetAttributes()["command_id"] != command.GetCommandId() {
					t.Errorf("events %v", told)
				}
				if got := w.manager.Metrics()["kasmina.command_verifier.rejections_total."+tt.reason]; got != 1 {
					t.Errorf("counted %v times", got)
				}
			})
		})
	}
}

func annotateAfter(name, text string) func(*leyline.AdaptationCommand) { return annotate(name, text) }

func issuedIn(d time.Duration) func(*leyline.AdaptationCommand) {
	return func(c *leyline.AdaptationCommand) { c.IssuedAt = timestamppb.New(time.Now().Add(d)) }
}

func TestCommandsAtTheEdgeOfFreshnessAreAccepted(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.do(opGerminate, "young", issuedIn(5*time.Second))
		w.do(opGerminate, "old", issuedIn(-time.Minute))
		w.wantStage("young", stageGerminated)
		w.wantStage("old", stageGerminated)
	})
}

func TestPythonsSignedCommandIsAccepted(t *testing.T) {
	const signed = "08011205636d642d3118012206736565642d3132060880e2cfaa063a0674616d69796f521d0801120542503030311a080a0161" +
		"15000000001a080a0162150000003fa201250a106d6573685f686f73745f6c617965727312115b22776569676874222c226269617322" +
		"5da201180a0f747261696e696e675f72756e5f6964120572756e2d31"
	content, err := hex.DecodeString(signed)
	if err != nil {
		t.Fatal(err)
	}
	command := new(leyline.AdaptationCommand)
	if err := proto.Unmarshal(content, command); err != nil {
		t.Fatal(err)
	}
	command.Annotations["signature"] = "wgIqSvk8b4X+rQg3f5i8RhgjwnyEb16ynvoELVfErR0="
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Unix(1700000000, 0)))
		w := newWorld(t, nil)
		if err := w.manager.HandleCommand(w.ctx, command); err != nil {
			t.Fatal(err)
		}
		settle()
		w.wantStage("seed-1", stageGerminated)
		w.answer(w.ready(w.lastRequest()))
		w.wantStage("seed-1", stageTraining)
		w.rejects(command, ReasonNonceReplayed)
	})
}

func TestReplayIsRefusedAndLeavesTheSeedAlone(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		command := w.command(opGerminate, "s")
		if err := w.manager.HandleCommand(w.ctx, command); err != nil {
			t.Fatal(err)
		}
		w.rejects(command, ReasonNonceReplayed)
		w.wantStage("s", stageGerminated)
		w.answer(w.ready(w.lastRequest()))
		w.wantStage("s", stageTraining)
	})
}

func TestRestartDoesNotReopenTheWindowForReplays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nonces")
	persist := func(c *Config) { c.LedgerPath = path }
	synctest.Test(t, func(t *testing.T) {
		first := newWorld(t, persist)
		command := first.command(opGerminate, "s")
		if err := first.manager.HandleCommand(first.ctx, command); err != nil {
			t.Fatal(err)
		}
		second := newWorld(t, persist)
		second.rejects(command, ReasonNonceReplayed)
		second.wantStage("s", stageUnknown)
	})
}

func TestNonceIsSpentByAStaleCommand(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		command := w.command(opGerminate, "s", issuedIn(10*time.Second))
		w.rejects(command, ReasonIssuedInFuture)
		wait(10 * time.Second)
		w.rejects(command, ReasonNonceReplayed)
	})
}

func TestForgedCommandDoesNotSpendTheNonceOfTheRealOne(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		command := w.command(opGerminate, "s")
		forged := proto.CloneOf(command)
		forged.TargetSeedId = "other"
		w.rejects(forged, ReasonInvalidSignature)
		if err := w.manager.HandleCommand(w.ctx, command); err != nil {
			t.Error(err)
		}
	})
}

func TestSignatureThatIsNotTextIsJustInvalid(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		for _, signature := range []string{"\xff\xfe", "漢字", "=", "wgIqSvk8b4X+rQg3f5i8RhgjwnyEb16ynvoELVfErR0"} {
			command := w.command(opGerminate, "s")
			command.Annotations["signature"] = signature
			w.rejects(command, ReasonInvalidSignature)
		}
		w.rejects(nil, ReasonMissingSignature)
	})
}

func TestWithoutASecretNoCommandIsBelieved(t *testing.T) {
	inWorld(t, func(c *Config) { c.Keyring = nil }, func(w *world) {
		w.rejects(w.command(opGerminate, "s"), ReasonVerifierUnavailable)
	})
}

func TestFullLedgerIsToldAndStaysSafe(t *testing.T) {
	inWorld(t, func(c *Config) { c.LedgerCapacity = 1 }, func(w *world) {
		first := w.command(opGerminate, "a")
		if err := w.manager.HandleCommand(w.ctx, first); err != nil {
			t.Fatal(err)
		}
		wait(time.Second)
		w.do(opGerminate, "b")
		w.rejects(first, ReasonStaleCommand)
		w.finalize(-1)
		told := events(w.emitted(), "nonce_ledger_truncated")
		if len(told) == 0 || told[0].GetLevel() != levelWarning || told[0].GetAttributes()["removed"] != "1" {
			t.Errorf("events %v", told)
		}
		if size := w.manager.Metrics()["kasmina.nonce_ledger.size"]; size != 1 {
			t.Errorf("size %v", size)
		}
	})
}

func TestFloodOfForgedCommandsFillsOneEvent(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.emitted()
		for range 5000 {
			command := w.command(opGerminate, "s")
			command.Annotations["signature"] = "AAAA"
			w.rejects(command, ReasonInvalidSignature)
		}
		wait(time.Second)
		packets := w.emitted()
		told := events(packets, "command_rejected")
		if len(packets) != 1 || len(told) != 1 || told[0].GetAttributes()["count"] != "5000" {
			t.Errorf("%d packets, events %v", len(packets), told)
		}
		w.do(opGerminate, "s")
		w.wantStage("s", stageGerminated)
	})
}
