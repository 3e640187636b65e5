package fieldreport

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/esper-lite/weatherlight/leyline"
)

func writeIndex(t *testing.T, logPath, content string) (path string) {
	t.Helper()
	path = filepath.Join(filepath.Dir(logPath), "field_reports.index.json")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// What an earlier release had in its log and not on the bus goes there now, once.
func TestScenario101_ReportsThatAnEarlierReleaseHadNotPublishedArePublished(t *testing.T) {
	for name, tt := range map[string]struct {
		index string
		want  []string
	}{
		"as it says": {`{"a":{"published":true,"retry_count":0,"next_attempt_ms":0},
			"b":{"published":false,"retry_count":"2","next_attempt_ms":"1700000000000"},"c":{"dropped":true}}`, []string{"b"}},
		"an empty one":       {`{}`, []string{"a", "b", "c"}},
		"one that is torn":   {`{torn`, []string{"a", "b", "c"}},
		"an unreadable part": {`{"a":7,"b":{"published":true},"c":{"published":true}}`, []string{"a"}},
	} {
		t.Run(name, func(t *testing.T) {
			path := logPath(t)
			keepAll(t, openLog(t, path, Config{}), "a", "b", "c")
			index := writeIndex(t, path, tt.index)
			b := new(bus)
			for range 2 {
				openLog(t, path, Config{Publish: b.publish})
			}
			if !slices.Equal(b.sent, tt.want) {
				t.Errorf("published %v, want %v", b.sent, tt.want)
			}
			if _, err := os.Stat(index); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the index is still there: %v", err)
			}
		})
	}
}

// It wrote its index only after its first report, and may have been killed before.
func TestReportsOfALogThatNobodyMarkedArePublished(t *testing.T) {
	path := logPath(t)
	keepAll(t, openLog(t, path, Config{}), "a", "b")
	if err := os.Remove(path + ".published"); err != nil {
		t.Fatal(err)
	}
	b := new(bus)
	for range 2 {
		openLog(t, path, Config{Publish: b.publish})
	}
	if want := []string{"a", "b"}; !slices.Equal(b.sent, want) {
		t.Errorf("published %v, want %v", b.sent, want)
	}
}

// A start that fails in the middle of it is done again.
func TestReportsOfAnEarlierReleaseWaitForTheNextStart(t *testing.T) {
	path := logPath(t)
	keepAll(t, openLog(t, path, Config{}), "a", "b")
	writeIndex(t, path, `{}`)
	b := &bus{refuse: func(id string) bool { return id == "b" }}
	if _, err := Open(t.Context(), path, Config{Publish: b.publish}); !errors.Is(err, errRefused) {
		t.Fatalf("got %v", err)
	}
	b.refuse = nil
	openLog(t, path, Config{Publish: b.publish})
	if want := []string{"a", "a", "b"}; !slices.Equal(b.sent, want) {
		t.Errorf("published %v, want %v", b.sent, want)
	}
}

func TestIndexOfThePrototypeIsUnderstood(t *testing.T) {
	done, faults := parseIndex([]byte(`{
		"sent":{"published":true,"retry_count":0,"next_attempt_ms":0},
		"texts":{"published":false,"retry_count":"2","next_attempt_ms":"1700000000000","last_error":"x"},
		"given-up":{"published":false,"retry_count":3,"next_attempt_ms":5,"dropped":true},
		"bad":7,"null":null}`))
	want := map[string]bool{"sent": true, "texts": false, "given-up": true, "null": false}
	if !maps.Equal(done, want) || faults != 1 {
		t.Errorf("%v, %d faults", done, faults)
	}
}

func FuzzReportIndex(f *testing.F) {
	f.Add([]byte(`{"a":{"published":true,"retry_count":"1","next_attempt_ms":3.0}}`))
	f.Add([]byte(`{"a":null,"b":{"dropped":1}}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		path := logPath(t)
		keepAll(t, openLog(t, path, Config{}), "a", "b")
		if err := os.WriteFile(filepath.Join(filepath.Dir(path), "field_reports.index.json"), content, 0o600); err != nil {
			t.Fatal(err)
		}
		publish := func(context.Context, *leyline.FieldReport) error { return nil }
		log := openLog(t, path, Config{Publish: publish})
		done, _ := parseIndex(content)
		if want := 2 - counted(done["a"]) - counted(done["b"]); log.Published() != want {
			t.Errorf("published %d of 2, want %d", log.Published(), want)
		}
	})
}

func counted(yes bool) int64 {
	if yes {
		return 1
	}
	return 0
}
