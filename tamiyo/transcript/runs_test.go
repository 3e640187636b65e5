package transcript

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tamiyo"
)

// stalledRun is one in which a seed is begun.
func stalledRun(t *testing.T, reports int) Run {
	t.Helper()
	return stalledRunBy(t, reports, func(n int) int64 { return int64(n) })
}

// stalledRunBy is one whose reports come at these seconds.
func stalledRunBy(t *testing.T, reports int, clock func(n int) int64) Run {
	t.Helper()
	controller := tamiyo.NewController(tamiyo.Config{Patience: 2})
	run := Run{ID: "run-1"}
	var record *tamiyo.Record
	for n := range reports {
		state := tamiyo.State{
			Packet: &leyline.SystemStatePacket{
				TrainingRunId: "run-1", CurrentEpoch: uint32(n), ValidationLoss: 1, PacketId: fmt.Sprint("p-", n),
			},
			Grows: true, TrainerID: "process-1", Number: uint64(n) + 1, HostLayers: []string{"fc1"}, Slots: map[string][]int{"layer1": {32}},
		}
		decision, recording := Decide(controller, record, state, time.Unix(1_800_000_000+clock(n), 0), func([]int) ([]tamiyo.Candidate, error) {
			return []tamiyo.Candidate{{
				BlueprintID: "BP002", Tier: leyline.BlueprintTier_BLUEPRINT_TIER_SAFE, Risk: 0.2, ParameterCount: 100, MultiplyAdds: 100,
			}}, nil
		})
		written, err := recording.Transcript()
		if err != nil {
			t.Fatal(err)
		}
		record = decision.Record
		run.Decisions = append(run.Decisions, written)
		for _, command := range decision.Commands {
			run.Commands = append(run.Commands, command.GetCommandId())
		}
	}
	if len(run.Commands) == 0 {
		t.Fatal("no seed was begun")
	}
	return run
}

// Clocks are set back, and instances have their own: records follow each other all the same.
func TestDecisionsAreReadInTheOrderOfTheirRecords(t *testing.T) {
	for name, clock := range map[string]func(n int) int64{
		"forwards": func(n int) int64 { return int64(n) }, "backwards": func(n int) int64 { return int64(-n) },
		"at once": func(int) int64 { return 0 }, "set back in between": func(n int) int64 { return int64(n % 3) },
	} {
		t.Run(name, func(t *testing.T) {
			run := stalledRunBy(t, 6, clock)
			for _, lost := range []int{-1, 0} {
				var export strings.Builder
				export.WriteString(`{"run":{"id":"run-1"}}` + "\n")
				for _, i := range []int{3, 5, 1, 0, 2, 4, 2} { // one of them twice
					text, err := new(Writer).Text(run.Decisions[i])
					if err != nil {
						t.Fatal(err)
					}
					if i != lost {
						fmt.Fprintf(&export, `{"decision":{"run":"run-1","transcript":%q}}`+"\n", text)
					}
				}
				fmt.Fprintf(&export, `{"end":{"run":"run-1","lines":%d}}`+"\n", strings.Count(export.String(), "\n"))
				read, err := ReadRuns(strings.NewReader(export.String()))
				if err != nil {
					t.Fatal(err)
				}
				result, err := read[0].Replay()
				if err != nil || result.Difference != nil || len(result.Missing) != lost+1 || result.Decisions != 6-(lost+1) {
					t.Errorf("without %d: %+v, %v, %v", lost, result, result.Difference, err)
				}
			}
		})
	}
}

func TestReplayTellsWhatTheRecordLacks(t *testing.T) {
	whole := stalledRun(t, 6)
	for name, row := range map[string]struct {
		lacks   func(r *Run)
		missing []string
	}{
		"nothing":   {func(*Run) {}, nil},
		"beginning": {func(r *Run) { r.Decisions = r.Decisions[1:] }, []string{`what was decided before report 2 of trainer "process-1"`}},
		"middle": {
			func(r *Run) { r.Decisions = slices.Delete(r.Decisions, 1, 2) },
			[]string{`what was decided between report 1 of trainer "process-1" and report 3 of trainer "process-1"`},
		},
		"end":     {func(r *Run) { r.Cut = true }, []string{"the end of its export"}},
		"command": {func(r *Run) { r.Commands = append(r.Commands, "other") }, []string{`the decision that gave command "other"`}},
	} {
		t.Run(name, func(t *testing.T) {
			run := Run{ID: whole.ID, Decisions: slices.Clone(whole.Decisions), Commands: slices.Clone(whole.Commands)}
			row.lacks(&run)
			result, err := run.Replay()
			if err != nil || result.Difference != nil || !slices.Equal(result.Missing, row.missing) {
				t.Errorf("%+v, %v, %v", result, result.Difference, err)
			}
		})
	}
}

func TestReadRunsRefusesWhatIsNoExport(t *testing.T) {
	text, err := new(Writer).Text(stalledRun(t, 6).Decisions[0])
	if err != nil {
		t.Fatal(err)
	}
	of := func(run string) string { return fmt.Sprintf(`{"decision":{"run":%q,"transcript":%q}}`, run, text) }
	const head = `{"run":{"id":"run-1"}}` + "\n"
	if runs, err := ReadRuns(strings.NewReader(head + `{"report":{"run":"run-1"}}` + "\n" + of("run-1"))); err != nil || len(runs[0].Decisions) != 1 {
		t.Errorf("%+v, %v", runs, err)
	}
	for end, cut := range map[string]bool{`{"end":{"run":"run-1","lines":2}}`: false, `{"end":{"run":"run-1","lines":3}}`: true, "": true} {
		if runs, err := ReadRuns(strings.NewReader(head + of("run-1") + "\n" + end)); err != nil || runs[0].Cut != cut {
			t.Errorf("with the end %q: %+v, %v", end, runs, err)
		}
	}
	for _, export := range []string{
		"no json", of("run-1"), head + of("other"), head + `{"decision":{"run":"run-1"}}`, head + `{"decision":{"run":"run-1","transcript":"x"}}`,
		head + `{"event":{"run":"other","kind":"command"}}`,
	} {
		var line *LineError
		if _, err := ReadRuns(strings.NewReader(export)); !errors.As(err, &line) || !errors.Is(err, errMalformed) {
			t.Errorf("%.60q: %v", export, err)
		}
	}
	if _, err := ReadRuns(strings.NewReader(strings.Repeat("x", maxLine+1))); err == nil {
		t.Error("a line without an end is read")
	}
}

// Whoever made an export may have written anything into it.
func TestAnswerAtNoPlaceIsNone(t *testing.T) {
	t.Parallel()
	controller := tamiyo.NewController(tamiyo.Config{
		Patience: 1, Policies: func() (active, shadow tamiyo.Policy) { return unwilling("a"), nil },
	})
	var record *tamiyo.Record
	asked := false
	for n := range 4 {
		state := tamiyo.State{
			Packet: &leyline.SystemStatePacket{TrainingRunId: "r", CurrentEpoch: uint32(n), ValidationLoss: 1, PacketId: fmt.Sprint(n)},
			Grows:  true, TrainerID: "t", Number: uint64(n) + 1, HostLayers: []string{"fc"}, Slots: map[string][]int{"fc": {16}},
		}
		decision, recording := Decide(controller, record, state, time.Unix(int64(1_800_000_000+n), 0), bearable)
		record = decision.Record
		for _, place := range []int{-1, 1, 1000} {
			read := reread(t, recording)
			if read.Policies[0] == nil || len(read.Policies[0].Answers) == 0 {
				continue
			}
			asked = true
			read.Policies[0].Answers[0].Best, read.Policies[0].Answers[0].Of = place, 0
			if _, err := read.Decide(nil); !errors.As(err, new(*difference)) {
				t.Errorf("answers at place %d: %v", place, err)
			}
		}
	}
	if !asked {
		t.Error("no policy was asked")
	}
}

// A small export must not take the memory of a large one.
func TestTextThatUnfoldsToFarMoreIsRefused(t *testing.T) {
	t.Parallel()
	bomb := *stalledRun(t, 6).Decisions[0]
	bomb.Packet = bytes.Repeat([]byte{0xb8, 0x3e, 1}, maxOpened/4) // a field that nobody knows, over and over
	plain, err := bomb.appendTo(nil)
	if err != nil {
		t.Fatal(err)
	}
	small, err := deflated(nil, plain)
	if err != nil {
		t.Fatal(err)
	}
	for how, packed := range map[string][]byte{"S2": append([]byte{packedFast}, s2.EncodeBest(nil, plain)...), "deflate": small} {
		text := base64.RawStdEncoding.AppendEncode(nil, packed)
		err := new(Transcript).UnmarshalText(text)
		if refused := errors.Is(err, errTooLarge); refused != (len(plain) > maxFold*len(packed)) || how == "S2" && !refused {
			t.Errorf("%s: %d bytes of %d: %v", how, len(text), len(plain), err)
		}
	}
}

// What is told of a decision can be read by whoever gets it: one line that cannot be read spoils an export.
func TestWhatIsWrittenCanBeRead(t *testing.T) {
	t.Parallel()
	for _, size := range []int{maxOpened - 1<<20, maxOpened + 1<<20} {
		large := *stalledRun(t, 6).Decisions[0]
		same := make([]byte, 16<<10)
		_, _ = rand.NewChaCha8([32]byte{}).Read(same) // never fails
		large.Packet = nil
		for len(large.Packet) < size { // fields that nobody knows
			large.Packet = protowire.AppendBytes(protowire.AppendTag(large.Packet, 999, protowire.BytesType), same)
		}
		text, err := new(Writer).Text(&large)
		if err != nil {
			if !errors.Is(err, errTooLarge) || size < maxOpened {
				t.Errorf("%d bytes: %v", size, err)
			}
			continue
		}
		if err := new(Transcript).UnmarshalText(text); err != nil {
			t.Errorf("written are %d bytes as %d, and then: %v", size, len(text), err)
		}
	}
}
