package runs

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/esper-lite/weatherlight/leyline"
)

// Whatever comes, in whatever parts and order, the records are those that the messages
// named, and the rows the same.
func TestPartsAndOrderChangeNoRows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		messages := rapid.SliceOfN(rapid.Custom(anyMessage), 1, 12).Draw(t, "messages")
		whole := tell(messages...)
		named := NewBatch(messages)
		for run := range whole.Runs {
			if _, is := named.Runs[run]; !is {
				t.Fatalf("run %q was not named", run)
			}
		}
		for seed := range whole.Seeds {
			if _, is := named.Seeds[seed]; !is {
				t.Fatalf("seed %v was not named", seed)
			}
		}
		shuffled := slices.Clone(messages)
		rand.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		again := NewBatch(nil)
		for i := range shuffled {
			again.Apply(shuffled[i : i+1])
		}
		for _, rows := range [][2]int{{len(whole.Reports), len(again.Reports)}, {len(whole.Points), len(again.Points)}} {
			if rows[0] != rows[1] {
				t.Fatalf("%v rows", rows)
			}
		}
		for id, r := range whole.Runs {
			if r == nil || id == "" { // whether an alarm is raised anew is seen from those before
				continue
			}
			if other := again.Runs[id]; other == nil || other.Reports != r.Reports || !other.LastAt.Equal(r.LastAt) || other.Epoch != r.Epoch {
				t.Fatalf("%+v and %+v", r, other)
			}
		}
		for key, s := range whole.Seeds {
			if s == nil {
				continue
			}
			if other := again.Seeds[key]; s.Kasmina && other.Kasmina && stagesTold(messages) && other.Stage != s.Stage {
				t.Fatalf("%+v and %+v", s, other)
			}
		}
	})
}

// stagesTold: no trainer told of stages beside Kasmina, and no two packets at one time.
func stagesTold(messages []Message) bool {
	times := map[time.Time]bool{}
	for _, m := range messages {
		if _, report := m.Payload.(*leyline.SystemStatePacket); report || times[m.At] {
			return false
		}
		times[m.At] = true
	}
	return true
}

func anyMessage(t *rapid.T) Message {
	run := rapid.SampledFrom([]string{"r", "q", "", strings.Repeat("long", 100)}).Draw(t, "run")
	seed := rapid.SampledFrom([]string{"s", "", "z\n"}).Draw(t, "seed")
	seconds := rapid.IntRange(0, 1000).Draw(t, "at")
	switch rapid.IntRange(0, 4).Draw(t, "kind") {
	case 0:
		return reported(run, seconds, blending, rapid.Float32().Draw(t, "loss"))
	case 1:
		return packetOf(run, seed, seconds, stageOf(rapid.SampledFrom([]string{"TRAINING", "CULLED", ""}).Draw(t, "stage")),
			event("x", "training_run_id", "other"), event("alarm", "alarm", "a"))
	case 2:
		return message(seconds, &leyline.AdaptationCommand{TargetSeedId: seed, Annotations: map[string]string{"training_run_id": run}})
	case 3:
		return message(seconds, &leyline.FieldReport{TrainingRunId: run, SeedId: seed})
	default:
		return message(seconds, &leyline.EmergencySignal{RunId: run})
	}
}

func FuzzText(f *testing.F) {
	for _, seed := range []string{"", "run-1", "a\nb", "\xff\xfe", strings.Repeat("é", 200), "\x00", "\u0085\u202e"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, got := range []string{name(s), text(s, maxText)} {
			if !utf8.ValidString(got) || len(got) > maxText || strings.ContainsAny(got, "\n\r\x00") {
				t.Errorf("%q became %q", s, got)
			}
		}
		if got := name(s); len(got) > maxID || name(got) != got {
			t.Errorf("%q became %q, which becomes %q", s, got, name(got))
		}
	})
}

// FuzzApply takes any bytes for payloads: none may be more than its bounds.
func FuzzApply(f *testing.F) {
	for _, m := range []Message{reported("r", 1, blending, 1), packetOf("r", "s", 1, stageOf("TRAINING"))} {
		raw, err := proto.Marshal(m.Payload)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, payload := range []proto.Message{
			new(leyline.SystemStatePacket), new(leyline.TelemetryPacket), new(leyline.AdaptationCommand), new(leyline.FieldReport), new(leyline.EmergencySignal),
		} {
			if proto.Unmarshal(raw, payload) != nil {
				continue
			}
			m := message(1, payload)
			m.Key()
			b := tell(m)
			if len(b.Events) > 2*MaxEvents+maxSeeds || len(b.Points) > maxSeeds {
				t.Errorf("%d events, %d points", len(b.Events), len(b.Points))
			}
			for _, e := range b.Events {
				if _, err := json.Marshal(e); err != nil {
					t.Error(err)
				}
			}
		}
	})
}
