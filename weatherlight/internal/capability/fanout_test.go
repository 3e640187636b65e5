package capability

import (
	"context"
	"errors"
	"testing"

	"github.com/esper-lite/weatherlight/karn"
	"github.com/esper-lite/weatherlight/kasmina"
	"github.com/esper-lite/weatherlight/urza"
)

var errBroken = errors.New("broken")

// library holds kernels that grant something, and takes it back as it is told.
type library struct {
	records []*urza.Record
	err     error
	merged  int
}

func (l *library) List(context.Context) ([]*urza.Record, error) { return l.records, nil }

func (l *library) Get(context.Context, string) (*urza.Record, error) { return nil, urza.ErrNotFound }

func (l *library) MergeCapabilities(context.Context, string, map[string][]string) (changed bool, err error) {
	l.merged++
	return l.err == nil, l.err
}

// What was granted before is taken back once, and again after a failure.
func TestWhatWasGrantedIsForgottenOnceItIsTakenBack(t *testing.T) {
	granting := &urza.Record{
		Descriptor: karn.NewCatalog().List()[0],
		Extras:     map[string]any{"graph_metadata": `{"capabilities": {"allowed_parameters_by_seed_id": {"s": ["a"]}}}`},
	}
	held := &library{records: []*urza.Record{granting}, err: errBroken}
	f := New(Config{
		Library: held, Catalog: karn.NewCatalog(),
		Each:    func(context.Context, func(string, *kasmina.Record)) error { return nil },
		Confirm: func(context.Context) error { return nil },
	})
	if _, err := f.Run(t.Context()); !errors.Is(err, errBroken) {
		t.Errorf("a library that fails: %v", err)
	}
	held.err = nil
	for round, merged := range []int{2, 2} {
		if _, err := f.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if held.merged != merged || len(f.granted) != 0 {
			t.Errorf("round %d: written %d times, want %d; still granted: %v", round, held.merged, merged, f.granted)
		}
	}
}
