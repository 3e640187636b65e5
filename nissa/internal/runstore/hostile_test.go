package runstore

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
)

// Whatever a sender writes is stored, cut to its bounds, and changes nobody else's records.
func TestHostileTextsAreStored(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, url string) {
		s := open(t, Config{URL: url})
		for i, text := range hostile {
			told := report(text, i+1)
			told.Payload.(*leyline.SystemStatePacket).PacketId = fmt.Sprint(i)
			told.Payload.(*leyline.SystemStatePacket).TrainingMetrics = map[string]float32{text: 1}
			told.Payload.(*leyline.SystemStatePacket).SeedStates[0].SeedId = text
			spoken := seedPacket(text, text, text, i+1)
			spoken.Payload.(*leyline.TelemetryPacket).SourceSubsystem = text
			spoken.Payload.(*leyline.TelemetryPacket).Events[1].Description = text
			spoken.Payload.(*leyline.TelemetryPacket).Events[1].Attributes[text] = text
			put(t, s, told, spoken, packet(text, i))
		}
		all, err := s.Runs(t.Context(), time.Time{}, "", 100)
		if err != nil || len(all) != len(hostile) {
			t.Fatalf("%d runs, %v", len(all), err)
		}
		for _, r := range all {
			if len(r.ID) > 128 || strings.ContainsAny(r.ID, "\n\x00") {
				t.Errorf("run %q", r.ID)
			}
			if r.Bytes > 16<<10 {
				t.Errorf("run %.20q takes %d bytes", r.ID, r.Bytes)
			}
			if err := s.Export(t.Context(), r.ID, new(bytes.Buffer)); err != nil {
				t.Error(err)
			}
		}
	})
}

// Numbers at the ends of what a message can say are stored too.
func TestHostileNumbersAreStored(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, url string) {
		s := open(t, Config{URL: url})
		for i, number := range []uint64{0, math.MaxInt64, math.MaxInt64 + 1, math.MaxUint64} {
			told := report(fmt.Sprint("run-", i), i+1)
			state := told.Payload.(*leyline.SystemStatePacket)
			state.GlobalStep, state.TimestampNs, state.CurrentEpoch = number, number, math.MaxUint32
			state.TrainingMetrics = map[string]float32{"nan": float32(math.NaN()), "inf": float32(math.Inf(1)), "small": math.SmallestNonzeroFloat32}
			state.TrainingLoss, state.ValidationLoss = math.MaxFloat32, math.SmallestNonzeroFloat32
			told.Attributes = nil // of a trainer whose numbers have no other bounds
			put(t, s, told)
			reports, err := s.Reports(t.Context(), fmt.Sprint("run-", i), time.Time{}, 0)
			if err != nil || len(reports) != 1 || reports[0].Step != min(number, math.MaxInt64) {
				t.Errorf("%+v, %v", reports, err)
			}
		}
		for _, since := range []string{"1e300", "NaN", "-1e300"} {
			told := packet("weatherlight", 1)
			told.Payload.(*leyline.TelemetryPacket).PacketId = since
			told.Payload.(*leyline.TelemetryPacket).Events = []*leyline.TelemetryEvent{
				{Description: "alarm", Attributes: map[string]string{"alarm": "lag", "since": since}}}
			put(t, s, told)
			if alarms, err := s.Alarms(t.Context()); err != nil || len(alarms) != 1 || alarms[0].Name != "lag" {
				t.Errorf("since %s: %+v, %v", since, alarms, err)
			}
		}
	})
}

// hostile are names that a peer may use who means harm; no two of them are one.
var hostile = []string{
	strings.Repeat("x", 1<<20), strings.Repeat("x", 1<<20) + "y", "two\nlines", "zero\x00byte", "\xff\xfe broken \xc3", "'; DROP TABLE nissa_runs; --",
	`{"json":"[1,2]"}`, `<script>alert(1)</script>`, "\u202eright to left", "{}", "null", "[]", `"quoted"`, `\u0000`, "%s%d%v", "../..", "run/../other",
}
