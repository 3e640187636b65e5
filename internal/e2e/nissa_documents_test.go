package e2e

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/elastictest"
	"github.com/esper-lite/weatherlight/internal/freeport"
)

// TestKilledNissaHasEachDocumentOnce kills Nissa while messages come, beside a search engine that is
// away at first and busy now and then. In the end it has the document of each message, once.
func TestKilledNissaHasEachDocumentOnce(t *testing.T) {
	begin(t)
	const kills, burst = 8, 500
	w := newWorld(t)
	addr, engineAddr, folder := freeport.Must(t), freeport.Must(t), t.TempDir()
	environ := slices.Concat(w.environ, []string{"NISSA_HTTP_ADDR=" + addr, "ELASTICSEARCH_URL=http://nissa:" + hiddenPassword + "@" + engineAddr})
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	publish := func(from int) {
		var commands [][]string
		for n := from; n < from+burst; n++ {
			commands = append(commands, epochCommand("run-1", n), eventCommand("run-1", n))
		}
		if _, err := w.bus.pipeline(commands); err != nil {
			t.Error(err)
		}
	}
	p := launch(t, folder, environ, nissaService)
	publish(0)
	eventually(t, "reports are stored though the search engine is away", patience, func() bool { return nissaReports(addr, "run-1") == burst })
	if code, body, err := get(addr, "/readyz"); err != nil || code != http.StatusOK {
		t.Errorf("/readyz is %d %s (%v)", code, body, err)
	}
	w.settledFor(nissaGroup, streamNormal, patience)
	w.settledFor(nissaGroup, streamTelemetry, patience)
	for _, index := range []string{"system_state", "telemetry"} {
		_, body, _ := get(addr, "/metrics")
		if !strings.Contains(body, fmt.Sprintf("\nnissa_bulk_waiting_documents{index=%q} %d\n", index, burst)) {
			t.Errorf("%d documents of %s should wait: %s", burst, index, linesWith(body, "nissa_bulk"))
		}
	}
	p.kill()
	mustNotSay(t, "Nissa", p.stderr.String(), hiddenPassword)

	engine := elastictest.StartAt(t, engineAddr)
	engine.User, engine.Password = "nissa", hiddenPassword
	var asked atomic.Int32
	engine.Refuse(func(*http.Request) (int, string) {
		if asked.Add(1)%3 == 0 {
			return http.StatusServiceUnavailable, ""
		}
		return 0, ""
	})
	for kill := 1; kill < kills; kill++ {
		p := launch(t, folder, environ, nissaService)
		publish(kill * burst)
		wanted := kill*burst + random.IntN(burst)
		eventually(t, "some reports are in the store", patience, func() bool { return nissaReports(addr, "run-1") > wanted })
		p.kill()
	}
	const all = kills * burst
	p = launch(t, folder, environ, nissaService)
	begun := time.Now()
	eventually(t, "all documents are there", patience, func() bool {
		return len(engine.Documents("system_state")) >= all && len(engine.Documents("telemetry")) >= all
	})
	took(t, "SIGKILL", fmt.Sprintf("launch of Nissa to all of %d documents sent", 2*all), time.Since(begun), 0)
	w.settledFor(nissaGroup, streamNormal, patience)
	w.settledFor(nissaGroup, streamTelemetry, patience)
	eventually(t, "the spool is empty", patience, func() bool {
		files, err := filepath.Glob(filepath.Join(folder, "var/nissa/documents/*/*.ndjson"))
		return err == nil && len(files) == 0
	})
	mustBeNumbered(t, engine, "system_state", "run-1-", all)
	mustBeNumbered(t, engine, "telemetry", "packet-", all)
	again, requests := engine.Repeated()
	t.Logf("%d bulk requests, %d documents came again", requests, again)
	if said := engine.Complaints(); len(said) > 0 {
		t.Errorf("the search engine complains: %v", said)
	}
	p.signal(syscall.SIGTERM)
	if code, took := p.exit(stopBound); code != 0 {
		t.Errorf("Nissa stopped with exit code %d after %s", code, took)
	}
	mustNotSay(t, "Nissa", p.stderr.String(), hiddenPassword)
}

// mustBeNumbered looks for one document for each number from 0.
func mustBeNumbered(t *testing.T, engine *elastictest.Server, index, prefix string, all int) {
	t.Helper()
	documents, names := engine.Documents(index), map[any]bool{}
	for _, document := range documents {
		names[document["packet_id"]] = true
	}
	for n := range all {
		if name := fmt.Sprint(prefix, n); !names[name] {
			t.Fatalf("%s has no document %s", index, name)
		}
	}
	if len(documents) != all || len(names) != all {
		t.Errorf("%s has %d documents of %d names, want %d", index, len(documents), len(names), all)
	}
}

func linesWith(text, part string) (found string) {
	for line := range strings.Lines(text) {
		if strings.Contains(line, part) && !strings.HasPrefix(line, "#") {
			found += line
		}
	}
	return found
}

// TestN14SettingsOfTheShippedRulesAreInForce: the prototype read them in a program that nobody ran.
func TestN14SettingsOfTheShippedRulesAreInForce(t *testing.T) {
	begin(t)
	w := newWorld(t)
	addr := freeport.Must(t)
	launch(t, t.TempDir(), slices.Concat(w.environ, []string{
		"NISSA_HTTP_ADDR=" + addr, "NISSA_COVERAGE_ALERT_THRESHOLD=0.9", "NISSA_COVERAGE_ALERT_CONSECUTIVE=2", "NISSA_BSDS_ELEVATED_RISK_THRESHOLD=0.85",
	}), nissaService)
	say := func(metric string, value float64) {
		var commands [][]string
		for n := range 2 {
			point := append(stringField(nil, 1, metric), 2<<3|1)
			point = binary.LittleEndian.AppendUint64(point, math.Float64bits(value))
			packet := stringField(stringField(nil, 1, fmt.Sprint(metric, value, n)), 3, "tamiyo")
			payload := envelope(typeTelemetry, bytesField(packet, 10, point))
			commands = append(commands, addCommand(streamTelemetry, payload, sign(secret, payload)))
		}
		if _, err := w.bus.pipeline(commands); err != nil {
			t.Fatal(err)
		}
	}
	say("tamiyo.blueprint.risk", 0.84) // above the default
	say("tamiyo.gnn.feature_coverage", 0.89)
	var told struct {
		Alerts []struct{ Rule, State string }
	}
	eventually(t, "the coverage is an alert", patience, func() bool {
		code, body, err := get(addr, "/api/alerts")
		return err == nil && code == http.StatusOK && json.Unmarshal([]byte(body), &told) == nil &&
			len(told.Alerts) > 0 && told.Alerts[0].State == "firing"
	})
	if len(told.Alerts) != 1 || told.Alerts[0].Rule != "tamiyo_coverage_low" {
		t.Errorf("alerts %+v", told.Alerts)
	}
}
