package control

import (
	"testing"
	"time"
)

// A second trainer whose reports are minutes apart is one between them, too: an alarm that ended
// and began again with each would tell of many.
func TestTroubleLastsUntilItCouldComeAgain(t *testing.T) {
	t.Parallel()
	const round = 2 * time.Second
	for _, apart := range []time.Duration{time.Second, 90 * time.Second, 10 * time.Minute} {
		c := &troubled{lasts: true}
		now := time.Unix(1_800_000_000, 0)
		c.note("run", "trainer-2", now)
		c.since(now.Add(apart / 2).Add(-round)) // somebody looks in between
		for range 3 {
			now = now.Add(apart)
			c.note("run", "trainer-2", now)
			if got := c.since(now.Add(apart).Add(-round)); got["run"] != "trainer-2" {
				t.Errorf("%v apart: told of %v before the next one", apart, got)
			}
		}
		if got := c.since(now.Add(3 * apart)); len(got) > 0 {
			t.Errorf("%v apart: told of %v when none came any more", apart, got)
		}
	}
	c := &troubled{lasts: true}
	now := time.Unix(1_800_000_000, 0)
	c.note("run", "trainer-2", now)
	c.note("run", "trainer-2", now.Add(20*time.Hour))
	if got := c.since(now.Add(22 * time.Hour)); len(got) > 0 {
		t.Errorf("told of %v two hours later", got)
	}
}
