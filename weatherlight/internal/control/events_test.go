package control_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
	"github.com/esper-lite/weatherlight/weatherlight/internal/control"
)

func TestWhatGoesWrongInARunIsLogged(t *testing.T) {
	onBothBuses(t, func(t *testing.T, url string) {
		log := &journal{}
		o := open(t, url, "a", log.keep)
		o.hear("run-1")
		second := o.report("run-1")
		second.Attributes[trainer.AttributeTrainerID] = "another"
		for range 2 { // it is told once a minute
			if _, err := o.State(t.Context(), second); err != nil {
				t.Fatal(err)
			}
		}
		text := log.String()
		if strings.Count(text, "level=ERROR msg=trainer_refused run=run-1") != 1 || !strings.Contains(text, "event.trainer_id=another") {
			t.Errorf("log:\n%s", text)
		}
		if strings.Contains(text, "level=INFO") {
			t.Errorf("the log tells what is no trouble:\n%s", text)
		}
		if refused := o.view("run-1").Kasmina.Refused; len(refused) != 1 || refused[0].ID != "another" {
			t.Errorf("refused %+v", refused)
		}
	})
}

func TestWhatComesWithEveryReportIsLoggedOnceAMinute(t *testing.T) {
	onBothBuses(t, func(t *testing.T, url string) {
		log := &journal{}
		o := open(t, url, "a", log.keep)
		o.hear("run-1")
		for range 20 {
			diverged := o.report("run-1")
			diverged.Payload.(*leyline.SystemStatePacket).ValidationLoss = float32(math.NaN())
			if _, err := o.State(t.Context(), diverged); err != nil {
				t.Fatal(err)
			}
		}
		if text := log.String(); strings.Count(text, "msg=loss_spike") != 1 {
			t.Errorf("log:\n%s", text)
		}
	})
}

// To write a decision down takes as long as to make it: beyond 1,000 a second there are
// decisions alone.
func TestMoreDecisionsThanAreRecordedAreMadeAllTheSame(t *testing.T) {
	now := time.Now()
	o := open(t, redistest.Start(t).URL, "a", func(c *control.Config) { c.Now = func() time.Time { return now } })
	for range 1005 {
		o.hear("run-1")
	}
	if recorded := o.events("decision_recorded"); recorded != 1000 {
		t.Errorf("%d decisions are recorded", recorded)
	}
	if epoch := o.view("run-1").Tamiyo.Epoch; epoch != 1005 {
		t.Errorf("the last decision is that on epoch %d", epoch)
	}
	now = now.Add(time.Second)
	o.hear("run-1")
	if recorded := o.events("decision_recorded"); recorded != 1001 {
		t.Errorf("%d decisions are recorded a second later", recorded)
	}
}
