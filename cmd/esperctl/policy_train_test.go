package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/cmd/internal/process"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tamiyo"
	"github.com/esper-lite/weatherlight/tamiyo/policy/learn"
	"github.com/esper-lite/weatherlight/tamiyo/transcript"
)

// exportOf is a run of a few decisions, as Nissa exports one.
func exportOf(t *testing.T, id string, change func(*transcript.Transcript)) string {
	t.Helper()
	export := fmt.Sprintf(`{"run":{"id":%q}}`, id) + "\n"
	var record *tamiyo.Record
	for n := range 3 {
		decision, recording := transcript.Decide(tamiyo.NewController(tamiyo.Config{}), record, tamiyo.State{
			Packet: &leyline.SystemStatePacket{TrainingRunId: id, CurrentEpoch: uint32(n), ValidationLoss: 1},
			Grows:  true, TrainerID: "t", Number: uint64(n) + 1,
		}, time.Unix(int64(1_800_000_000+n), 0), nil)
		record = decision.Record
		written, err := recording.Transcript()
		if err != nil {
			t.Fatal(err)
		}
		if change != nil {
			change(written)
		}
		text, err := new(transcript.Writer).Text(written)
		if err != nil {
			t.Fatal(err)
		}
		line, err := json.Marshal(map[string]any{"decision": map[string]string{"run": id, "transcript": string(text)}})
		if err != nil {
			t.Fatal(err)
		}
		export += string(line) + "\n"
	}
	return export + fmt.Sprintf(`{"end":{"run":%q,"lines":%d}}`, id, strings.Count(export, "\n")) + "\n"
}

func exportFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "run.jsonl")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// runAs runs esperctl, and returns its exit code.
func runAs(t *testing.T, args ...string) (code int, said string) {
	t.Helper()
	var out bytes.Buffer
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(&out)
	root.SetErr(&out)
	err := root.ExecuteContext(t.Context())
	return process.ExitCode(err), fmt.Sprint(out.String(), err)
}

func TestRunsAreReplayed(t *testing.T) {
	whole := exportOf(t, "run-1", nil)
	lines := strings.SplitAfter(whole, "\n")
	changed := exportOf(t, "run-1", func(t *transcript.Transcript) { t.Settings.Patience = 99; t.Outcome.Record = "other" })
	nissa := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/runs/run-1/export" {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, whole)
	}))
	t.Cleanup(nissa.Close)
	t.Chdir(t.TempDir())
	t.Setenv("NISSA_URL", "")
	t.Setenv("NISSA_HTTP_ADDR", strings.TrimPrefix(nissa.URL, "http://"))
	for name, row := range map[string]struct {
		args []string
		code int
		says string
	}{
		"same":       {[]string{exportFile(t, whole)}, 0, "run-1: 3 decisions with 0 commands are the same, byte by byte"},
		"from Nissa": {[]string{"run-1", "--nissa", nissa.URL}, 0, "run-1: 3 decisions"},
		"different":  {[]string{exportFile(t, changed)}, exitNotSo, "record of the run"},
		"missing":    {[]string{exportFile(t, lines[0]+lines[1]+lines[3])}, exitIncomplete, "not recorded is what was decided between"},
		"empty":      {[]string{exportFile(t, lines[0])}, exitIncomplete, "0 decisions"},
		"no run":     {[]string{exportFile(t, "")}, exitIncomplete, "no run is recorded"},
		"hostile":    {[]string{exportFile(t, lines[0]+"{}\x1b[31m")}, process.ExitFailed, "line 2"},
		"unknown":    {[]string{"run-2", "--nissa", nissa.URL}, process.ExitFailed, "404"},
		"by default": {[]string{"run-1"}, 0, "run-1: 3 decisions"},
		"nobody":     {[]string{"run-2", "--nissa", "http://127.0.0.1:1"}, process.ExitDependency, "run-2 is no file: Nissa does not answer"},
	} {
		t.Run(name, func(t *testing.T) {
			code, said := runAs(t, append([]string{"runs", "replay"}, row.args...)...)
			if code != row.code || !strings.Contains(said, row.says) {
				t.Errorf("exit code %d, want %d: %s", code, row.code, said)
			}
		})
	}
}

func TestPolicyIsTrainedFromWhatIsThere(t *testing.T) {
	file := exportFile(t, exportOf(t, "run-1", nil))
	nissa := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/api/runs" && r.URL.Query().Get("before") == "":
			fmt.Fprint(w, `{"runs":[{"id":"run 2"}],"next":"n"}`)
		case r.URL.Path == "/api/runs":
			fmt.Fprint(w, `{"runs":[{"id":"run-3"}]}`)
		default:
			fmt.Fprint(w, exportOf(t, strings.Split(r.URL.Path, "/")[3], nil))
		}
	}))
	t.Cleanup(nissa.Close)
	to := filepath.Join(t.TempDir(), "policy.onnx")
	code, said := runAs(t, "policy", "train", "--from", file+","+filepath.Dir(file), "--from", nissa.URL, "--out", to)
	if code != exitIncomplete || !strings.Contains(said, "0 seeds that came to something, in 0 of 4 runs") {
		t.Errorf("exit code %d: %s", code, said)
	}
	if code, said := runAs(t, "policy", "train", "--from", exportFile(t, "no export"), "--out", to); code != process.ExitFailed ||
		!strings.Contains(said, "line 1") {
		t.Errorf("exit code %d: %s", code, said)
	}
	if _, err := os.Stat(to); err == nil {
		t.Error("a policy was written")
	}
}

func TestPolicyIsWrittenOnlyWhenItBeatsTheRules(t *testing.T) {
	to := filepath.Join(t.TempDir(), "policy.onnx")
	var out bytes.Buffer
	err := offerPolicy([]byte("policy"), learn.Verdict{Choices: 60, Gain: 0.1, Noise: 0.06}, to, &out)
	var not verdict
	if _, statErr := os.Stat(to); statErr == nil || !errors.As(err, &not) || not.Exit() != exitNotSo {
		t.Errorf("within the noise: %v", err)
	}
	if err := offerPolicy([]byte("policy"), learn.Verdict{Choices: 60, Gain: 0.1, Noise: 0.04}, to, &out); err != nil {
		t.Fatal(err)
	}
	written, err := os.ReadFile(to)
	if err != nil || string(written) != "policy" || !strings.Contains(out.String(), "esperctl policy publish "+to) {
		t.Errorf("%q, %v: %s", written, err, out.String())
	}
}
