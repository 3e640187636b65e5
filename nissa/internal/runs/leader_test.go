package runs

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

// reportOfTrainer is a report of one process; without an id it is of one that only reports.
func reportOfTrainer(id, resumes string, seconds int) Message {
	m := reported("r", seconds, blending, float32(seconds))
	m.Payload.(*leyline.SystemStatePacket).PacketId = fmt.Sprint(id, seconds)
	m.Attributes = nil
	if id != "" {
		m.Attributes = trainer.Report{TrainerID: id, Resumes: resumes, Number: uint64(seconds)}.Attributes()
	}
	return m
}

func word(description string, seconds int, pairs ...string) Message {
	return packetOf("r", "", seconds, event(description, pairs...))
}

func TestReportsOfARunAreThoseOfItsLeader(t *testing.T) {
	for name, test := range map[string]struct {
		told    []Message
		epochs  []uint32
		leader  string
		refused int64
	}{
		"one": {[]Message{reportOfTrainer("a", "", 1), reportOfTrainer("a", "", 2)}, []uint32{1, 2}, "a", 0},
		"a second beside it": {[]Message{reportOfTrainer("a", "", 1), reportOfTrainer("b", "", 2), reportOfTrainer("a", "", 3),
			reportOfTrainer("", "", 4)}, []uint32{1, 3}, "a", 2},
		"one that goes on from its checkpoint": {[]Message{reportOfTrainer("a", "", 1), reportOfTrainer("b", "a", 2),
			reportOfTrainer("a", "", 3)}, []uint32{1, 2}, "b", 1},
		"one that comes when it is silent": {[]Message{reportOfTrainer("a", "", 1), reportOfTrainer("a", "", 11),
			reportOfTrainer("b", "", 70), reportOfTrainer("b", "", 71), reportOfTrainer("a", "", 72)}, []uint32{1, 11, 71}, "b", 2},
		"one that reports seldom": {[]Message{reportOfTrainer("a", "", 1), reportOfTrainer("a", "", 101),
			reportOfTrainer("b", "", 400), reportOfTrainer("b", "", 402)}, []uint32{1, 101, 402}, "b", 1},
		"one that only reports, and one that grows": {[]Message{reportOfTrainer("", "", 1), reportOfTrainer("a", "", 2),
			reportOfTrainer("", "", 3)}, []uint32{1, 2}, "a", 1},
		"Kasmina took another": {[]Message{reportOfTrainer("a", "", 1), word("trainer_changed", 2, "trainer_id", "b", "replaces", "a"),
			reportOfTrainer("b", "", 3), reportOfTrainer("a", "", 4)}, []uint32{1, 3}, "b", 1},
		"Kasmina refused it": {[]Message{reportOfTrainer("b", "", 1), word("trainer_refused", 2, "trainer_id", "b", "leader", "a"),
			reportOfTrainer("b", "", 3), reportOfTrainer("a", "", 4)}, []uint32{1, 4}, "a", 1},
	} {
		t.Run(name, func(t *testing.T) {
			b := tell(test.told...)
			var epochs []uint32
			for _, report := range b.Reports {
				epochs = append(epochs, report.Epoch)
			}
			r := b.Runs["r"]
			if !slices.Equal(epochs, test.epochs) || r.Trainer != test.leader || r.Refused != test.refused || r.Epoch != epochs[len(epochs)-1] {
				t.Errorf("reports %v, %d refused; %+v", epochs, r.Refused, r)
			}
			if len(b.Points) != len(epochs) || r.Reports != int64(len(epochs)) {
				t.Errorf("%d points, %d reports", len(b.Points), r.Reports)
			}
		})
	}
}

// What comes late is the run's own when its trainer led then.
func TestLateReportIsOfTheLeaderOfItsTime(t *testing.T) {
	b := tell(reportOfTrainer("b", "a", 10), reportOfTrainer("b", "a", 12))
	b.Apply([]Message{reportOfTrainer("a", "", 9), reportOfTrainer("c", "", 8), reportOfTrainer("a", "", 11),
		word("trainer_refused", 9, "trainer_id", "b", "leader", "a")})
	if r := b.Runs["r"]; r.Trainer != "b" || r.Reports != 3 || r.Refused != 2 || r.Epoch != 12 {
		t.Errorf("%+v", r)
	}
}

// An outage counts for little when it is judged how long a trainer may be silent.
func TestOutageDoesNotMakeATrainerSlow(t *testing.T) {
	told := []Message{}
	for i := range 5 {
		told = append(told, reportOfTrainer("a", "", 10*i))
	}
	b := tell(append(told, reportOfTrainer("a", "", 86_400), reportOfTrainer("a", "", 86_410), reportOfTrainer("a", "", 86_420))...)
	if silence := b.Runs["r"].silence(); silence > 90*time.Second {
		t.Errorf("after an outage it may be silent for %s", silence)
	}
}

// Nobody knows how often a trainer reports before its second report, after it took a run over neither.
func TestTrainerIsNotSilentBeforeItsSecondReportIsOverdue(t *testing.T) {
	first := []Message{reportOfTrainer("a", "", 0)}
	second := append(slices.Clone(first), reportOfTrainer("a", "", 600))
	for name, test := range map[string]struct {
		told    []Message
		seconds int
		want    string
	}{
		"one report":                           {first, 600, Running},
		"one report, and no more":              {first, 901, Silent},
		"two reports":                          {second, 600 + 1799, Running},
		"two, and no more":                     {second, 600 + 1801, Silent},
		"one of who took it over":              {append(slices.Clone(second), reportOfTrainer("b", "a", 1200)), 1800, Running},
		"one of who only reports":              {[]Message{reportOfTrainer("", "", 0)}, 600, Running},
		"one of who only reports, and no more": {[]Message{reportOfTrainer("", "", 0)}, 901, Silent},
		"two of who only reports, and no more": {
			[]Message{reportOfTrainer("", "", 0), reportOfTrainer("", "", 600)}, 600 + 1801, Silent},
		"two, a second apart":      {append(slices.Clone(first), reportOfTrainer("a", "", 1)), 62, Silent},
		"two of who only reports":  {[]Message{reportOfTrainer("", "", 0), reportOfTrainer("", "", 600)}, 1200, Running},
		"the same, told two times": {append(slices.Clone(first), first...), 600, Running},
	} {
		if got := tell(test.told...).Runs["r"].State(at(test.seconds)); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

// What the service refuses as a whole is of no run.
func TestRefusedReportMakesNoRun(t *testing.T) {
	for name, spoil := range map[string]func(*Message, *leyline.SystemStatePacket){
		"another protocol":    func(m *Message, _ *leyline.SystemStatePacket) { m.Attributes[trainer.AttributeProtocol] = "2" },
		"no trainer":          func(m *Message, _ *leyline.SystemStatePacket) { delete(m.Attributes, trainer.AttributeTrainerID) },
		"slots not read":      func(m *Message, _ *leyline.SystemStatePacket) { m.Attributes[trainer.AttributeSlots] = "{" },
		"no run":              func(_ *Message, p *leyline.SystemStatePacket) { p.TrainingRunId = "" },
		"a folder as a run":   func(_ *Message, p *leyline.SystemStatePacket) { p.TrainingRunId = ".." },
		"blanks around a run": func(_ *Message, p *leyline.SystemStatePacket) { p.TrainingRunId = " r" },
	} {
		m := reported("r", 1, blending, 1)
		spoil(&m, m.Payload.(*leyline.SystemStatePacket))
		b := tell(m)
		for id, r := range b.Runs {
			if r != nil {
				t.Errorf("%s: run %q", name, id)
			}
		}
		if len(b.Reports)+len(b.Points)+len(b.Events) > 0 {
			t.Errorf("%s: %+v", name, b)
		}
	}
}
