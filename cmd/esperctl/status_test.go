package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/cmd/internal/process"
)

func TestStatusIsAnAnswerToMonitors(t *testing.T) {
	said := answers()
	said["/status"] = said["/status?alarm"]
	served(t, said)
	printed, err := run(t, "status")
	if process.ExitCode(err) != process.ExitFailed || !strings.Contains(printed, "bus: gone") || !strings.Contains(printed, "bus_down") {
		t.Errorf("exit code %d, %v:\n%s", process.ExitCode(err), err, printed)
	}
	if printed, err := run(t, "status", "--json"); process.ExitCode(err) != process.ExitFailed || !json.Valid([]byte(printed)) {
		t.Errorf("--json: %v\n%s", err, printed)
	}
}

// Monitors hear of an alert of Nissa's, until somebody has taken it up.
func TestStatusCountsWhatNissaRaises(t *testing.T) {
	for name, test := range map[string]struct {
		alert string
		code  int
		shown bool
	}{
		"fires":       {`"severity":"warning","state":"firing"`, process.ExitFailed, true},
		"informs":     {`"severity":"info","state":"firing"`, process.ExitClean, true},
		"is not sure": {`"severity":"critical","state":"pending"`, process.ExitClean, false},
		"has ended":   {`"severity":"critical","state":"resolved"`, process.ExitClean, false},
		"is taken up": {`"severity":"critical","state":"firing","ack":{"by":"ann"}`, process.ExitClean, true},
		"is silenced": {`"severity":"critical","state":"firing","silenced_by":["s"]`, process.ExitClean, true},
		"not a word":  {`"severity":"","state":"firing"`, process.ExitFailed, true},
	} {
		t.Run(name, func(t *testing.T) {
			said := answers()
			said["/api/alerts"] = `{"alerts":[{"id":"1","rule":"run_silent","source":"weatherlight","since":"2026-11-30T11:00:00Z",` + test.alert + `}]}`
			served(t, said)
			printed, err := run(t, "status")
			if process.ExitCode(err) != test.code || strings.Contains(printed, "run_silent") != test.shown {
				t.Errorf("exit code %d, %v:\n%s", process.ExitCode(err), err, printed)
			}
			if printed, _ := run(t, "status", "--json"); strings.Contains(printed, "run_silent") != test.shown {
				t.Errorf("--json:\n%s", printed)
			}
		})
	}
}

// A Nissa that somebody counts on, by naming it, is missed when it is away.
func TestStatusMissesANissaThatIsNamed(t *testing.T) {
	const raised = `"alarms":[{"alarm":"nissa_unreachable","severity":"info","since":"2026-11-30T11:00:00Z"}]`
	for name, test := range map[string]struct {
		url, alarms string
		code        int
	}{
		"nobody names one":             {"", `"alarms":[]`, process.ExitClean},
		"this command does":            {"http://127.0.0.1:1", `"alarms":[]`, process.ExitFailed},
		"the service does":             {"", raised, process.ExitFailed},
		"both do":                      {"http://127.0.0.1:1", raised, process.ExitFailed},
		"the service's has come again": {"", strings.Replace(raised, `"since"`, `"gone":true,"since"`, 1), process.ExitClean},
	} {
		t.Run(name, func(t *testing.T) {
			said := answers()
			said["/status"] = strings.Replace(said["/status"], `"alarms":[]`, test.alarms, 1)
			served(t, said)
			t.Setenv("NISSA_URL", test.url)
			t.Setenv("NISSA_HTTP_ADDR", "127.0.0.1:1")
			if _, err := run(t, "status"); process.ExitCode(err) != test.code || strings.Count(fmt.Sprint(err), "nissa") > 1 {
				t.Errorf("exit code %d: %v", process.ExitCode(err), err)
			}
		})
	}
}

// A run of which many seeds went is no screen full of lines, and an objective's two windows are one reason.
func TestStatusTellsOfAlertsThatAreAlikeInOneLine(t *testing.T) {
	said := answers()
	fires := func(rule, severity, label string, minute int) string {
		return fmt.Sprintf(`{"id":"%s%d","rule":%q,"source":"nissa","severity":%q,"state":"firing","since":"2026-11-30T11:%02d:00Z","labels":{"seed":%q}}`,
			rule, minute, rule, severity, minute, label)
	}
	said["/api/alerts"] = `{"alerts":[` + strings.Join([]string{
		fires("seed_culled", "info", "b", 20), fires("kernel_latency", "critical", "", 30), fires("seed_culled", "info", "a", 10),
		fires("seed_culled", "info", "c", 40), fires("kernel_latency", "warning", "", 31),
	}, ",") + `]}`
	served(t, said)
	printed, err := run(t, "status")
	if strings.Count(printed, "seed_culled") != 1 || !strings.Contains(printed, "info seed_culled, 3 of them, for ") {
		t.Errorf("seeds that went:\n%s", printed)
	}
	if text := fmt.Sprint(err); strings.Count(text, "kernel_latency") != 1 {
		t.Errorf("it says %q", text)
	}
}

// A Nissa without rules is there all the same.
func TestStatusAsksANissaWithoutRules(t *testing.T) {
	said := answers()
	delete(said, "/api/alerts")
	served(t, said)
	if printed, err := run(t, "status"); err != nil || !strings.Contains(printed, "running") {
		t.Errorf("%v:\n%s", err, printed)
	}
	if printed, err := run(t, "alarms", "list"); err != nil || !strings.Contains(printed, "nothing is raised") {
		t.Errorf("alarms list: %v:\n%s", err, printed)
	}
}

// Alerts that cannot be read are not taken for none.
func TestStatusMissesAlertsThatANissaDoesNotTell(t *testing.T) {
	for _, status := range []int{http.StatusInternalServerError, http.StatusServiceUnavailable, http.StatusUnauthorized} {
		said := answers()
		served(t, said)
		nissa := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/api/alerts" {
				w.WriteHeader(status)
			}
			_, _ = fmt.Fprint(w, said[r.URL.Path])
		}))
		t.Cleanup(nissa.Close)
		t.Setenv("NISSA_URL", nissa.URL)
		printed, err := run(t, "status")
		if process.ExitCode(err) != process.ExitFailed || !strings.Contains(printed, fmt.Sprintf("says %d to /api/alerts", status)) {
			t.Errorf("%d: exit code %d, %v:\n%s", status, process.ExitCode(err), err, printed)
		}
	}
}

// A service that boots is asked by whoever waits for it: it has no streams to show yet.
func TestStatusOfAServiceThatBoots(t *testing.T) {
	said := answers()
	said["/status"] = `{"state":"booting","reason":"booting: step 2 of 10, oona connection","system_mode":"degraded","workers":[]}`
	served(t, said)
	printed, err := run(t, "status")
	if want := "not well: booting: step 2 of 10, oona connection"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	if !strings.Contains(printed, "booting, up 0s, degraded") || strings.Contains(printed, "STREAM") {
		t.Errorf("it shows\n%s", printed)
	}
}
