package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/internal/freeport"
)

// TestRecordOfARunReplaysToTheSameDecisions: the reference trainer grows seeds under two
// instances of which one is killed, Nissa keeps what they decided, and esperctl has the
// controller decide the same again, from Nissa and from a file. A file without one of
// the decisions is told apart.
func TestRecordOfARunReplaysToTheSameDecisions(t *testing.T) {
	begin(t)
	w := newWorld(t)
	w.environ = append(w.environ, "TAMIYO_STALL_EPOCHS=2", "TAMIYO_FR_OBS_WINDOW_EPOCHS=3")
	addr, folder := freeport.Must(t), t.TempDir()
	launch(t, folder, slices.Concat(w.environ, []string{"NISSA_HTTP_ADDR=" + addr}), nissaService)
	w.bootForged()
	second := w.second()
	second.bootForged()
	p := w.goTrainer("replayed", t.TempDir(), false)
	told := func(kind, names string) (n int) {
		var page struct {
			Events []struct{ Source, Name string }
		}
		if code, body, err := get(addr, "/api/runs/replayed/events?limit=1000&kind="+kind); err == nil && code == http.StatusOK &&
			json.Unmarshal([]byte(body), &page) == nil {
			for _, event := range page.Events {
				if event.Source == "tamiyo" && strings.Contains(names, event.Name) {
					n++
				}
			}
		}
		return n
	}
	eventually(t, "a seed is begun", growth, func() bool { p.mustRun(); return told("command", "GERMINATE") > 0 })
	second.process.kill()
	eventually(t, "a seed is kept", growth, func() bool { p.mustRun(); return told("field_report", "SUCCESS") > 0 })
	p.kill()
	w.settledFor(group, streamNormal, patience)
	w.stop()
	w.settledFor(nissaGroup, streamNormal, patience)
	w.settledFor(nissaGroup, streamTelemetry, patience)

	replay := func(args ...string) (code int, said string) {
		p := launch(t, folder, w.environ, "esperctl", append([]string{"runs", "replay"}, args...)...)
		code, _ = p.exit(patience)
		return code, p.stdout.String() + p.stderr.String()
	}
	// What the killed instance had decided and not yet told may be missing, and is named.
	code, said := replay("replayed", "--nissa", "http://"+addr)
	t.Log(said)
	if code != 0 && code != 3 {
		t.Fatalf("exit code %d: %s", code, said)
	}
	mustSay(t, "esperctl runs replay", said, "are the same, byte by byte")
	_, export, err := get(addr, "/api/runs/replayed/export")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(export, "\n")
	first := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, `{"decision"`) })
	file := func(lines []string) string {
		path := filepath.Join(folder, fmt.Sprint(len(lines), ".jsonl"))
		if err := os.WriteFile(path, []byte(strings.Join(lines, "")), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	whole := file(lines)
	decided := slices.DeleteFunc(slices.Clone(lines), func(line string) bool { return !strings.HasPrefix(line, `{"decision"`) })
	t.Logf("a recorded decision takes %d bytes", len(strings.Join(decided, ""))/len(decided))
	if again, text := replay(whole); again != code || text != said {
		t.Errorf("from the file: exit code %d: %s", again, text)
	}
	// One run is too little to learn from, and is read from both.
	for _, place := range []string{whole, "http://" + addr} {
		p := launch(t, folder, w.environ, "esperctl", "policy", "train", "--from", place, "--out", "policy.onnx")
		if code, _ := p.exit(patience); code != 3 {
			t.Errorf("trained from %s: exit code %d: %s", place, code, p.stderr.String())
		}
		mustSay(t, "esperctl policy train", p.stdout.String(), "in 1 of 1 runs; 0 decisions come out differently now")
	}
	if code, text := replay(file(slices.Delete(slices.Clone(lines), first+1, first+2))); code != 3 || !strings.Contains(text, "decided between") {
		t.Errorf("with a decision missing: exit code %d: %s", code, text)
	}
}
