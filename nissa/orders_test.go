package nissa

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/nissa/internal/ingest"
	"github.com/esper-lite/weatherlight/nissa/internal/runs"
	"github.com/esper-lite/weatherlight/oona"
)

// pickyStore refuses one entry.
type pickyStore struct {
	refused string
	away    bool
	kept    []string
}

var errNotStored = errors.New("not stored")

func (s *pickyStore) Put(_ context.Context, messages []runs.Message) ([]bool, error) {
	for _, m := range messages {
		if s.away || m.Entry == s.refused {
			return nil, errNotStored
		}
		s.kept = append(s.kept, m.Entry)
	}
	return make([]bool, len(messages)), nil
}

func (s *pickyStore) Writable(context.Context) error {
	if s.away {
		return errNotStored
	}
	return nil
}

// Orders that are not in the store yet go there before more are read, and one that cannot
// be stored does not hold the others up.
func TestOrdersThatAreNotKeptComeFirst(t *testing.T) {
	store := &pickyStore{refused: "2-0", away: true}
	service, err := New(Config{Bus: connect(t, embeddedURL(t), secret)})
	if err != nil {
		t.Fatal(err)
	}
	service.kept = &kept{group: ingest.New(store)}
	run := &watchedRun{unkept: []oona.Delivery{{ID: "1-0"}, {ID: "2-0"}, {ID: "3-0"}}} // nothing to read more from
	if err := service.takeOrders(t.Context(), run); !errors.Is(err, errNotStored) || len(run.unkept) != 3 {
		t.Errorf("%d are left, %v", len(run.unkept), err)
	}
	store.away = false
	run.orders = oona.NewOrders(service.config.Bus, "orders")
	if err := service.takeOrders(t.Context(), run); err != nil || strings.Join(store.kept, " ") != "1-0 3-0" || len(run.unkept) != 0 {
		t.Errorf("kept %v, left %d, %v", store.kept, len(run.unkept), err)
	}
}

func TestRunsWithLongNamesAreNotWatched(t *testing.T) {
	var w watched
	bus := connect(t, embeddedURL(t), secret)
	for _, run := range []string{"run-1", strings.Repeat("x", 128), strings.Repeat("x", 129), strings.Repeat("x", 1<<20)} {
		w.note(bus, run, time.Now())
	}
	if len(w.runs) != 2 {
		t.Errorf("%d runs are watched", len(w.runs))
	}
}
