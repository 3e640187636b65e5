package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/freeport"
)

// TestKilledNissaHasEachReportOnce kills Nissa ten times while reports and events come. In
// the end its store holds each of them, and none twice.
func TestKilledNissaHasEachReportOnce(t *testing.T) {
	begin(t)
	const kills, burst = 10, 1000
	w := newWorld(t)
	addr, folder := freeport.Must(t), t.TempDir()
	environ := slices.Concat(w.environ, []string{"NISSA_HTTP_ADDR=" + addr})
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	partial := 0
	for kill := range kills {
		p := launch(t, folder, environ, nissaService)
		var commands [][]string
		for i := range burst {
			n := kill*burst + i
			commands = append(commands, epochCommand("run-1", n), eventCommand("run-1", n))
		}
		sent, sender := make(chan error, 1), newRedisClient(t, w.redis.Addr)
		go func() {
			_, err := sender.pipeline(commands)
			sent <- err
		}()
		wanted := kill*burst + random.IntN(burst)
		eventually(t, "some reports are in the store", patience, func() bool { return nissaReports(addr, "run-1") > wanted })
		kept := nissaReports(addr, "run-1")
		p.kill()
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
		if kept < (kill+1)*burst {
			partial++
		}
	}
	if partial == 0 {
		t.Error("no kill fell into a burst")
	}
	const all = kills * burst
	p := launch(t, folder, environ, nissaService)
	begun := time.Now()
	eventually(t, "all reports and events are in the store", patience, func() bool {
		return nissaReports(addr, "run-1") >= all && nissaEvents(t, addr, "run-1") >= all
	})
	took(t, "SIGKILL", fmt.Sprintf("launch of Nissa to all of %d reports and events stored", all), time.Since(begun), 0)
	w.settledFor(nissaGroup, streamNormal, patience)
	w.settledFor(nissaGroup, streamTelemetry, patience)
	var curve struct{ Reports []struct{ Epoch int } }
	mustGet(t, addr, "/api/runs/run-1/reports?points=10000", &curve)
	seen := map[int]bool{}
	for _, report := range curve.Reports {
		seen[report.Epoch] = true
	}
	if n := nissaReports(addr, "run-1"); n != all || len(curve.Reports) != all || len(seen) != all {
		t.Errorf("%d reports are counted, %d stored of %d epochs; %d were published", n, len(curve.Reports), len(seen), all)
	}
	if n := nissaEvents(t, addr, "run-1"); n != all {
		t.Errorf("%d events are stored, %d were published", n, all)
	}
	if n := w.bus.length(streamDeadLetter); n != 0 {
		t.Errorf("%d dead letters: %v", n, w.bus.entries(streamDeadLetter)[0].fields["reason"])
	}
	mustReplay(t, environ, addr, "run-1", all)
	p.signal(syscall.SIGTERM)
	if code, took := p.exit(stopBound); code != 0 {
		t.Errorf("Nissa stopped with exit code %d after %s", code, took)
	}
}

// mustReplay imports what a Nissa exports into another store, from which another Nissa
// exports the same.
func mustReplay(t *testing.T, environ []string, addr, id string, reports int) {
	t.Helper()
	export := func(addr string) string {
		code, body, err := get(addr, "/api/runs/"+id+"/export")
		if err != nil || code != http.StatusOK {
			t.Fatalf("export: %d %v", code, err)
		}
		return body
	}
	first, folder := export(addr), t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "run.jsonl"), []byte(first), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"cut.jsonl": first[:len(first)/2], "empty.jsonl": ""} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		p := launch(t, folder, environ, nissaService, "--import", name)
		if code, _ := p.exit(patience); code != 1 {
			t.Errorf("the import of %s ends with %d", name, code)
		}
		mustSay(t, "the import of "+name, p.stderr.String(), name, "cut off", "parts")
	}
	if code, _ := launch(t, folder, environ, nissaService, "--parts").exit(patience); code != exitConfiguration {
		t.Errorf("parts of nothing end with %d", code)
	}
	other := freeport.Must(t)
	environ = append(environ, "NISSA_HTTP_ADDR="+other, "WEATHERLIGHT_INSTANCE=other")
	// A run goes from one store to another without the bus, so without its secret.
	if said := run(t, folder, append(slices.Clone(environ), "ESPER_LEYLINE_SECRET="), nissaService, "--import", "run.jsonl"); said != id+"\n" {
		t.Errorf("the import says %q", said)
	}
	launch(t, folder, environ, nissaService)
	eventually(t, "the run is in the other store", patience, func() bool { return nissaReports(other, id) == reports })
	if export(other) != first {
		t.Error("the other store exports something else")
	}
}

func epochCommand(run string, epoch int) []string {
	var state []byte
	state = varintField(state, 2, uint64(epoch))
	state = stringField(state, 9, fmt.Sprint(run, "-", epoch))
	state = stringField(state, 13, run)
	payload := envelope(typeState, state)
	return addCommand(streamNormal, payload, sign(secret, payload))
}

// eventCommand is a packet about a run with one event.
func eventCommand(run string, n int) []string {
	packet := stringField(nil, 1, fmt.Sprint("packet-", n))
	packet = stringField(packet, 3, "kasmina")
	packet = bytesField(packet, 20, stringField(nil, 2, "happened"))
	pair := stringField(stringField(nil, 1, "training_run_id"), 2, run)
	packet = bytesField(packet, 40, bytesField(nil, 3, pair))
	payload := envelope(typeTelemetry, packet)
	return addCommand(streamTelemetry, payload, sign(secret, payload))
}

// nissaReports is how many reports of a run Nissa counts; -1 when it does not say.
func nissaReports(addr, run string) int {
	var record struct{ Reports int }
	code, body, err := get(addr, "/api/runs/"+run)
	if err != nil || code != http.StatusOK || json.Unmarshal([]byte(body), &record) != nil {
		return -1
	}
	return record.Reports
}

// nissaEvents counts the events of a run page by page.
func nissaEvents(t *testing.T, addr, run string) (n int) {
	t.Helper()
	for after := 0; ; {
		var page struct{ Events []struct{ Seq int } }
		mustGet(t, addr, fmt.Sprint("/api/runs/", run, "/events?kind=event&limit=1000&after=", after), &page)
		if len(page.Events) == 0 {
			return n
		}
		n += len(page.Events)
		after = page.Events[len(page.Events)-1].Seq
	}
}

func mustGet(t *testing.T, addr, path string, into any) {
	t.Helper()
	code, body, err := get(addr, path)
	if err == nil {
		err = json.Unmarshal([]byte(body), into)
	}
	if err != nil || code != http.StatusOK {
		t.Fatalf("%s: %d %s %v", path, code, tail(body), err)
	}
}
