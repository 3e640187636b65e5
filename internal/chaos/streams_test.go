package chaos_test

import (
	"testing"

	"github.com/redis/rueidis"
)

// readAnswers calls f with the request id of every answer, in their order.
func readAnswers(t testing.TB, client rueidis.Client, f func(requestID string)) {
	t.Helper()
	ring := keyring(t)
	eachEntry(t, client, streams.KernelReady, func(e rueidis.XRangeEntry) {
		id, err := answerID(ring, e)
		if err != nil {
			t.Errorf("answer %s: %v", e.ID, err)
			return
		}
		f(id)
	})
}

func eachEntry(t testing.TB, client rueidis.Client, stream string, f func(rueidis.XRangeEntry)) {
	t.Helper()
	for start := "-"; ; {
		page, err := command(client, "XRANGE", stream, start, "+", "COUNT", "1000").AsXRange()
		if err != nil {
			t.Fatalf("read %s: %v", stream, err)
		}
		for _, e := range page {
			f(e)
		}
		if len(page) < 1000 {
			return
		}
		start = "(" + page[len(page)-1].ID
	}
}

func deadReasons(t testing.TB, client rueidis.Client) map[string]int {
	t.Helper()
	reasons := make(map[string]int)
	eachEntry(t, client, "oona.deadletter", func(e rueidis.XRangeEntry) { reasons[e.FieldValues["reason"]]++ })
	return reasons
}
