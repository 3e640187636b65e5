package delivery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/esper-lite/weatherlight/oona/internal/entry"
)

var errCutOff = errors.New("cut off")

// foreseen is a line on which each read finds as many entries as was foreseen, and fails at -1.
type foreseen []int

func (f *foreseen) Close() {}

func (f *foreseen) Take(context.Context, context.Context, time.Duration, rueidis.Completed) ([]entry.Entry, error) {
	n := (*f)[0]
	*f = (*f)[1:]
	if n < 0 {
		return nil, errCutOff
	}
	return make([]entry.Entry, n), nil
}

// While there is much to do, an entry that wakes the reader is one batch with those behind it:
// a batch of its own costs about as much as one of fifty.
func TestEntryThatWakesABusyReaderIsNoBatchOfItsOwn(t *testing.T) {
	t.Parallel()
	const waits, asks = "1s 100", "0s 99"
	for name, test := range map[string]struct {
		found foreseen
		wait  time.Duration
		want  []int    // the batches
		reads []string // what they were asked for: how long to wait, and how many entries
	}{
		"busy":               {foreseen{100, 1, 49, 1, 60}, time.Second, []int{100, 50, 61}, []string{waits, waits, asks, waits, asks}},
		"one at a time":      {foreseen{1, 1, 1}, time.Second, []int{1, 1, 1}, []string{waits, waits, waits}},
		"the end of a burst": {foreseen{100, 1, 0, 1}, time.Second, []int{100, 1, 1}, []string{waits, waits, asks, waits}},
		"after a rest":       {foreseen{100, 0, 1}, time.Second, []int{100, 0, 1}, []string{waits, waits, waits}},
		"much comes at once": {foreseen{100, 50}, time.Second, []int{100, 50}, []string{waits, waits}},
		"nobody waits":       {foreseen{100, 1}, 0, []int{100, 1}, []string{"0s 100", "0s 100"}},
	} {
		i, reads := reading(&test.found)
		var batches []int
		for range test.want {
			entries, err := i.next(t.Context(), t.Context(), test.wait)
			if err != nil {
				t.Fatal(err)
			}
			batches = append(batches, len(entries))
		}
		if !slices.Equal(batches, test.want) || !slices.Equal(*reads, test.reads) {
			t.Errorf("%s: batches %v of reads %q, want %v of %q", name, batches, *reads, test.want, test.reads)
		}
	}
}

// What was read is in hand, whatever becomes of the read behind it: who reads starts over, and
// the entries would wait for that.
func TestEntryIsHandledThoughTheReadBehindItFails(t *testing.T) {
	t.Parallel()
	i, _ := reading(&foreseen{100, 1, -1})
	for _, want := range []struct {
		entries int
		err     error
	}{{100, nil}, {1, errCutOff}} {
		if entries, err := i.next(t.Context(), t.Context(), time.Second); len(entries) != want.entries || !errors.Is(err, want.err) {
			t.Errorf("%d entries, %v, want %d, %v", len(entries), err, want.entries, want.err)
		}
	}
}

func TestReaderThatEndsAsksForNoMore(t *testing.T) {
	t.Parallel()
	i, reads := reading(&foreseen{100, 1})
	fetch, end := context.WithCancel(t.Context())
	defer end()
	for range 2 {
		if _, err := i.next(fetch, t.Context(), time.Second); err != nil {
			t.Fatal(err)
		}
		end()
	}
	if len(*reads) != 2 {
		t.Errorf("reads %q", *reads)
	}
}

func reading(found *foreseen) (i *intake, reads *[]string) {
	reads = new([]string)
	return &intake{line: found, most: 100, command: func(wait time.Duration, count int) (command rueidis.Completed) {
		*reads = append(*reads, fmt.Sprint(wait, " ", count))
		return command
	}}, reads
}
