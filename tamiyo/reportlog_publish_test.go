package tamiyo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

func TestReportsAfterTheFirstPublishAreStillSent(t *testing.T) {
	log := openLog(t, logPath(t), ReportConfig{})
	b := new(bus)
	for _, id := range []string{"a", "b", "c"} {
		appendAll(t, log, id)
		if sent, err := log.PublishPending(t.Context(), b); sent != 1 || err != nil {
			t.Fatalf("published %d, %v", sent, err)
		}
	}
	if !slices.Equal(b.sent, []string{"a", "b", "c"}) {
		t.Errorf("sent %v", b.sent)
	}
}

func TestRefusedReportIsNotMarkedSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := logPath(t)
		var heard emitted
		log := openLog(t, path, ReportConfig{Emit: heard.emit})
		appendAll(t, log, "a", "b")
		b := &bus{refuse: func(id string) error {
			if id == "a" {
				return errBusDown
			}
			return nil
		}}
		sent, err := log.PublishPending(t.Context(), b)
		if sent != 1 || !errors.Is(err, errBusDown) {
			t.Fatalf("published %d, %v", sent, err)
		}
		if got := pendingIDs(log); !slices.Equal(got, []string{"a"}) {
			t.Errorf("pending %v", got)
		}
		if event, attributes := heard.last(t); event != "field_report_retry" || attributes["report_id"] != "a" {
			t.Errorf("emitted %s %v", event, attributes)
		}
		if got := pendingIDs(openLog(t, path, ReportConfig{})); !slices.Equal(got, []string{"a"}) {
			t.Errorf("pending after restart %v", got)
		}
	})
}

func TestRefusedReportWaitsLongerEachTimeAndIsNeverGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := openLog(t, logPath(t), ReportConfig{MaxRetries: 2})
		appendAll(t, log, "a")
		b := &bus{refuse: down}
		for _, wait := range []time.Duration{2 * time.Second, 4 * time.Second, 4 * time.Second, 4 * time.Second} {
			if _, err := log.PublishPending(t.Context(), b); !errors.Is(err, errBusDown) {
				t.Fatalf("attempt: %v", err)
			}
			time.Sleep(wait - time.Millisecond)
			if _, err := log.PublishPending(t.Context(), b); err != nil {
				t.Fatalf("attempted again before %s: %v", wait, err)
			}
			time.Sleep(time.Millisecond)
		}
		b.refuse = nil
		if sent, err := log.PublishPending(t.Context(), b); sent != 1 || err != nil {
			t.Fatalf("after the outage %d sent, %v", sent, err)
		}
	})
}

func TestCrashBetweenTwoPublishesSendsNoReportTwice(t *testing.T) {
	path := logPath(t)
	log := openLog(t, path, ReportConfig{})
	appendAll(t, log, "a", "b")
	ctx, cancel := context.WithCancel(t.Context())
	b := new(bus)
	b.refuse = func(id string) error {
		if id == "b" {
			cancel() // the process is told to leave
			return ctx.Err()
		}
		return nil
	}
	if sent, err := log.PublishPending(ctx, b); sent != 1 || !errors.Is(err, context.Canceled) {
		t.Fatalf("published %d, %v", sent, err)
	}
	b.refuse = nil
	if sent, err := openLog(t, path, ReportConfig{}).PublishPending(t.Context(), b); sent != 1 || err != nil {
		t.Fatalf("after restart %d sent, %v", sent, err)
	}
	if !slices.Equal(b.sent, []string{"a", "b"}) {
		t.Errorf("sent %v", b.sent)
	}
}

// TestEveryReportIsSentWhateverFails: reports, refusals and restarts in any
// order; once the bus accepts, each report went out, and only once.
func TestEveryReportIsSentWhateverFails(t *testing.T) {
	root := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(root, "")
		if err != nil {
			rt.Fatal(err)
		}
		path := filepath.Join(dir, "field_reports.log")
		config := ReportConfig{Backoff: time.Nanosecond}
		log, err := NewReportLog(path, config)
		if err != nil {
			rt.Fatal(err)
		}
		b := new(bus)
		var want []string
		for range rapid.IntRange(1, 8).Draw(rt, "steps") {
			switch rapid.IntRange(0, 3).Draw(rt, "step") {
			case 0:
				id := fmt.Sprint(len(want))
				want = append(want, id)
				if err := log.Append(fieldReport(id)); err != nil {
					rt.Fatal(err)
				}
			case 1:
				b.refuse = func(string) error {
					if rapid.Bool().Draw(rt, "refused") {
						return errBusDown
					}
					return nil
				}
				_, _ = log.PublishPending(t.Context(), b)
			case 2:
				_ = log.Close()
				if log, err = NewReportLog(path, config); err != nil {
					rt.Fatal(err)
				}
			case 3:
				_ = log.Close()
				appendRaw(rt, path, rapid.SliceOfN(rapid.Byte(), 1, 3).Draw(rt, "torn"))
				if log, err = NewReportLog(path, config); err != nil {
					rt.Fatal(err)
				}
			}
		}
		b.refuse = nil
		for len(log.Pending()) > 0 {
			if _, err := log.PublishPending(t.Context(), b); err != nil {
				rt.Fatal(err)
			}
		}
		_ = log.Close()
		slices.Sort(b.sent)
		slices.Sort(want)
		if !slices.Equal(b.sent, want) {
			rt.Fatalf("sent %v, want %v", b.sent, want)
		}
	})
}

func appendRaw(t *rapid.T, path string, tail []byte) {
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(content, tail...), 0o600); err != nil {
		t.Fatal(err)
	}
}
