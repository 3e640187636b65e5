package status

import (
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/supervise"
)

func TestLastErrorsAreNewestFirst(t *testing.T) {
	at := time.Unix(1_700_000_000, 0)
	errors := lastErrors([]supervise.Status{
		{Name: "a", LastError: "old", LastErrorAt: at}, {Name: "well"},
		{Name: "b", LastError: "new", LastErrorAt: at.Add(time.Minute)},
	})
	if len(errors) != 2 || errors[0].Part != "b" || errors[1].Error != "old" || !errors[1].At.Equal(at) {
		t.Errorf("errors %+v", errors)
	}
}
