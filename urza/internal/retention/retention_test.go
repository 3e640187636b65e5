package retention

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPlanForOrphans(t *testing.T) {
	now := time.Now()
	since := map[string]time.Time{
		"due": now.Add(-time.Hour), "young": now.Add(-time.Minute), "ahead": now.Add(time.Minute), "used": now.Add(-time.Hour),
	}
	got := planFor([]string{"new", "due", "young", "ahead"}, since, now, time.Hour)
	want := plan{begin: []string{"new", "ahead"}, forget: []string{"used"}, remove: []string{"due"}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(plan{})); diff != "" {
		t.Error(diff)
	}
}
