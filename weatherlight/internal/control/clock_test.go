package control

import (
	"testing"
	"time"
)

// R30: a report was as old as the clock of the bus had been moved, and ignored in silence.
func TestR30ReportIsAsOldAsTheClockSaysThatDatedIt(t *testing.T) {
	here := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	const moved, second = 10 * time.Minute, time.Second
	for _, test := range []struct {
		name                string
		issued, stored, bus time.Time
		age                 time.Duration
	}{
		{"one clock", here.Add(-second), here, here, second},
		{"one clock, captured", here.Add(-time.Hour), here, here, time.Hour},
		{"bus ahead, dated by ours", here.Add(-second), here.Add(moved), here.Add(moved), second},
		{"bus ahead, dated by the bus's", here.Add(moved - second), here.Add(moved), here.Add(moved), second},
		{"bus ahead, captured", here.Add(-time.Hour), here.Add(moved), here.Add(moved), time.Hour},
		{"bus behind, dated by ours", here.Add(-second), here.Add(-moved), here.Add(-moved), second},
		{"bus set back, its entries still ahead", here.Add(-second), here.Add(moved), here, second},
		{"waited for an hour", here.Add(-time.Hour - second), here.Add(-time.Hour), here, second},
	} {
		if age := test.stored.Sub(issuedBefore(test.issued, test.stored, test.bus, here)); age != test.age {
			t.Errorf("%s: %v old, want %v", test.name, age, test.age)
		}
	}
	if !issuedBefore(time.Time{}, here, here, here).IsZero() {
		t.Error("one that does not say is dated")
	}
}
