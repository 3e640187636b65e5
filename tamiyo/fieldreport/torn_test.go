package fieldreport

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/leyline"
)

func TestScenario99_CrashInTheMiddleOfAnAppendLosesNothingElse(t *testing.T) {
	torn, _ := hex.DecodeString(goldenRecord)
	huge := []byte{0xff, 0xff, 0xff, 0xff, 1, 2, 3}
	tails := map[string][]byte{
		"half a length": torn[:2],
		"half a record": torn[:len(torn)-1],
		"impossible":    huge,
		"not a report":  {2, 0, 0, 0, 0xff, 0xff},
		"only a length": torn[:4],
		"zeros":         make([]byte, 64),
	}
	for name, tail := range tails {
		t.Run(name, func(t *testing.T) {
			path := logPath(t)
			log := openLog(t, path, Config{})
			keepAll(t, log, "a")
			appendTo(t, path, tail)
			reopened := openLog(t, path, Config{})
			keepAll(t, reopened, "b")
			if got := keptIDs(t, openLog(t, path, Config{})); !slices.Equal(got, []string{"a", "b"}) {
				t.Errorf("kept %v", got)
			}
			aside, err := os.ReadFile(path + ".torn-1")
			if err != nil || !bytes.Equal(aside, tail) {
				t.Errorf("set aside %x, %v", aside, err)
			}
		})
	}
}

func TestSecondTornTailDoesNotReplaceTheFirst(t *testing.T) {
	path := logPath(t)
	for n := range 2 {
		appendTo(t, path, []byte{byte(n)})
		openLog(t, path, Config{})
	}
	for n := range 2 {
		aside, err := os.ReadFile(fmt.Sprintf("%s.torn-%d", path, n+1))
		if err != nil || !bytes.Equal(aside, []byte{byte(n)}) {
			t.Errorf("torn-%d holds %v, %v", n+1, aside, err)
		}
	}
}

// To copy a hole of 64 GiB byte by byte would hold up the start.
func TestTailThatIsTooLargeToCopyIsSetAsideWithItsFile(t *testing.T) {
	path := logPath(t)
	log := openLog(t, path, Config{})
	keepAll(t, log, "a", "b")
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 64<<30); err != nil {
		t.Fatal(err)
	}
	log = openLog(t, path, Config{})
	if got := keptIDs(t, log); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("kept %v", got)
	}
	keepAll(t, log, "c")
	if got, err := os.ReadFile(path); err != nil || !bytes.HasPrefix(got, before) || len(got) >= 2*len(before) {
		t.Errorf("%d bytes where there were %d, %v", len(got), len(before), err)
	}
	if aside, err := os.Stat(path + ".torn-1"); err != nil || aside.Size() != 64<<30 {
		t.Errorf("set aside: %v, %v", aside, err)
	}
}

func appendTo(t *testing.T, path string, tail []byte) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write(tail); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
}

func FuzzReportRecords(f *testing.F) {
	golden, _ := hex.DecodeString(goldenRecord)
	f.Add(golden)
	f.Add(append(golden, golden[:9]...))
	f.Add([]byte{0xff, 0xff, 0xff, 0x7f})
	read := func(t *testing.T, content []byte) (reports []*leyline.FieldReport, used int64, torn error) {
		used, torn, err := readRecords(bytes.NewReader(content), 1<<16, func(report *leyline.FieldReport, _ int) error {
			reports = append(reports, report)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return reports, used, torn
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		reports, used, torn := read(t, content)
		if used > int64(len(content)) || torn == nil && used != int64(len(content)) {
			t.Fatalf("used %d of %d, %v", used, len(content), torn)
		}
		again, usedAgain, torn := read(t, content[:used])
		if torn != nil || usedAgain != used || len(again) != len(reports) {
			t.Fatalf("the good part is not readable by itself: %v", torn)
		}
		for i := range reports {
			if !proto.Equal(reports[i], again[i]) && !hasNaN(reports[i]) {
				t.Fatalf("record %d reads differently", i)
			}
		}
	})
}

func hasNaN(report *leyline.FieldReport) bool {
	for _, value := range report.GetMetrics() {
		if value != value {
			return true
		}
	}
	return false
}
