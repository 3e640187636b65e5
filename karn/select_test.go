package karn_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-lite/weatherlight/karn"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/telemetry"
)

func eventNames(events []*leyline.TelemetryEvent) []string {
	var names []string
	for _, e := range events {
		names = append(names, e.GetDescription())
	}
	return names
}

// request asks for a blueprint as it is compiled when nobody asks for others.
func request(id string, grant karn.Grant) karn.Request {
	d, err := karn.NewCatalog().Get(id)
	if err != nil {
		return karn.Request{BlueprintID: id, Grant: grant}
	}
	return karn.Request{BlueprintID: id, Parameters: karn.Midpoints(d), Grant: grant}
}

func TestSelectAsksForPermission(t *testing.T) {
	cases := []struct {
		name, id string
		grant    karn.Grant
		reason   string
	}{
		{"safe needs nothing", "BP002", karn.Grant{}, ""},
		{"experimental without approval", "BP036", karn.Grant{}, "approval required"},
		{"experimental approved", "BP036", karn.Grant{Approved: []string{"BP036"}}, ""},
		{"approval of another", "BP036", karn.Grant{Approved: []string{"BP037"}}, "approval required"},
		{"adversarial without quarantine", "BP045", karn.Grant{}, "quarantine only"},
		{"approval is not quarantine", "BP045", karn.Grant{Approved: []string{"BP045"}}, "quarantine only"},
		{"adversarial in quarantine", "BP045", karn.Grant{Quarantine: []string{"BP045"}}, ""},
	}
	for _, c := range cases {
		_, err := karn.NewCatalog().Select(t.Context(), request(c.id, c.grant))
		var refused *karn.RefusedError
		if errors.As(err, &refused) != (c.reason != "") || (refused != nil && refused.Reason != c.reason) {
			t.Errorf("%s: got %v, want reason %q", c.name, err, c.reason)
		}
	}
	if _, err := karn.NewCatalog().Select(t.Context(), karn.Request{BlueprintID: "BP099"}); !errors.Is(err, karn.ErrUnknownBlueprint) {
		t.Errorf("unknown blueprint: %v", err)
	}
}

func TestRowFromElsewhereIsJudgedByTheCatalogue(t *testing.T) {
	row := func(id string, approval, quarantine bool) *leyline.BlueprintDescriptor {
		return &leyline.BlueprintDescriptor{BlueprintId: id, ApprovalRequired: approval, QuarantineOnly: quarantine}
	}
	catalog := karn.NewCatalogWith(karn.Config{
		Granted:     karn.Grant{Approved: []string{"BP036", "custom"}, Quarantine: []string{"BP044"}},
		Quarantined: []string{"BP009"},
	})
	cases := []struct {
		name      string
		row       *leyline.BlueprintDescriptor
		approved  bool
		permitted bool
	}{
		{"safe", row("BP002", false, false), false, true},
		{"approved", row("BP036", true, false), false, true},
		{"not approved", row("BP038", true, false), false, false},
		{"approved where it lies", row("BP038", true, false), true, true},
		{"a row that hides what it needs", row("BP043", false, false), false, false},
		{"approved, but in quarantine", row("BP043", false, true), true, false},
		{"quarantine granted", row("BP044", false, true), false, true},
		{"in quarantine here", row("BP009", false, false), false, false},
		{"of nobody's catalogue, approved", row("custom", true, false), false, true},
		{"of nobody's catalogue, adversarial", row("other", false, true), false, false},
	}
	for _, c := range cases {
		if err := catalog.Permit(c.row, c.approved); (err == nil) != c.permitted {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestAdversarialBlueprintIsNotHandedOutUnasked(t *testing.T) {
	catalog := karn.NewCatalog()
	request := karn.Request{BlueprintID: "BP045", Parameters: map[string]float64{"frequency": 0.05}}
	_, err := catalog.Select(t.Context(), request)
	const text = "karn: blueprint BP045 (nan_injection) refused: quarantine only"
	if err == nil || err.Error() != text {
		t.Fatalf("got %v", err)
	}
	request.Grant = karn.Grant{Quarantine: []string{"BP045"}}
	if _, err := catalog.Select(t.Context(), request); err != nil {
		t.Error(err)
	}
	if got := catalog.Stats().Adversarial; got != 1 {
		t.Errorf("adversarial selections: %v", got)
	}
}

func TestSelectCountsAndReports(t *testing.T) {
	catalog := karn.NewCatalog()
	good := karn.Request{BlueprintID: "BP002", Parameters: map[string]float64{"scale": 0.5}}
	if _, err := catalog.Select(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	bad := karn.Request{BlueprintID: "BP002", Parameters: map[string]float64{"scale": 2.5}}
	if _, err := catalog.Select(t.Context(), bad); !errors.Is(err, karn.ErrOutOfRange) {
		t.Fatalf("got %v", err)
	}
	metrics := telemetry.Values(catalog.Stats().Figures(), "")
	want := map[string]float64{
		"karn.requests.total": 1, "karn.requests.failed": 1, "karn.selection.safe": 1,
		"karn.selection.experimental": 0, "karn.selection.adversarial": 0,
		"karn.breaker.denied": 0, "karn.breaker.open_total": 0, "karn.breaker.state": 1,
	}
	for name, value := range want {
		if got, exists := metrics[name]; !exists || got != value {
			t.Errorf("%s: got %v (%t), want %v", name, got, exists, value)
		}
	}
	if _, exists := metrics["karn.selection.latency_ms"]; !exists || len(metrics) != len(want)+1 {
		t.Errorf("metrics: %v", metrics)
	}
	checkSelectionEvents(t, catalog.DrainEvents())
	if left := catalog.DrainEvents(); len(left) != 0 {
		t.Errorf("drained twice: %v", left)
	}
}

func checkSelectionEvents(t *testing.T, events []*leyline.TelemetryEvent) {
	t.Helper()
	if len(events) != 2 {
		t.Fatalf("events: %v", eventNames(events))
	}
	first, second := events[0], events[1]
	if first.EventId != "evt-1" || first.Description != "karn.selection_succeeded" ||
		first.Level != leyline.TelemetryLevel_TELEMETRY_LEVEL_INFO ||
		first.Attributes["blueprint_id"] != "BP002" || first.Attributes["tier"] != "BLUEPRINT_TIER_SAFE" ||
		first.Attributes["conservative"] != "false" || first.Attributes["latency_ms"] == "" {
		t.Errorf("success: %v", first)
	}
	if second.EventId != "evt-2" || second.Description != "karn.selection_failed" ||
		second.Level != leyline.TelemetryLevel_TELEMETRY_LEVEL_WARNING ||
		second.Attributes["error"] != "invalid_parameter" {
		t.Errorf("failure: %v", second)
	}
}

func TestOneCallersMistakesDoNotShutOutEverybody(t *testing.T) {
	catalog := karn.NewCatalogWith(karn.Config{
		Failures:  1,
		Approvals: func(context.Context) (karn.Grant, error) { return karn.Grant{}, nil },
	})
	for range 10 {
		_, _ = catalog.Select(t.Context(), karn.Request{BlueprintID: "BP099"})
		_, _ = catalog.Select(t.Context(), karn.Request{BlueprintID: "BP002"})
		_, _ = catalog.Select(t.Context(), karn.Request{Query: karn.Query{Tier: 9}})
		_, _ = catalog.Select(t.Context(), karn.Request{
			BlueprintID: "BP039", Parameters: map[string]float64{"steps": 3},
		})
	}
	if state := catalog.Stats().Circuit; state != 1 {
		t.Errorf("breaker state %v after mistakes of callers", state)
	}
	if _, err := catalog.Select(t.Context(), karn.Request{BlueprintID: "BP001"}); err != nil {
		t.Error(err)
	}
}

// approvals is a look-up whose outcome a test sets.
type approvals struct {
	grant karn.Grant
	err   error
	calls int
}

func (a *approvals) lookup(context.Context) (karn.Grant, error) {
	a.calls++
	return a.grant, a.err
}

func TestOpenCircuitIsReportedOnceHoweverOftenItIsLookedAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &approvals{err: errors.New("disk gone")}
		catalog := karn.NewCatalogWith(karn.Config{Failures: 2, Approvals: store.lookup})
		needsApproval := karn.Request{BlueprintID: "BP039", Parameters: map[string]float64{"steps": 3}}
		for range 2 {
			if _, err := catalog.Select(t.Context(), needsApproval); !errors.Is(err, store.err) {
				t.Fatalf("got %v", err)
			}
		}
		if _, err := catalog.Select(t.Context(), needsApproval); !errors.Is(err, karn.ErrDenied) {
			t.Fatalf("got %v", err)
		}
		for range 20 {
			catalog.Stats()
		}
		metrics := catalog.Stats()
		if metrics.Opened != 1 || metrics.Circuit != 2 ||
			metrics.Denied != 1 || metrics.Failed != 2 {
			t.Errorf("metrics: %v", metrics)
		}
		opened := 0
		for _, name := range eventNames(catalog.DrainEvents()) {
			if name == "karn.breaker_opened" {
				opened++
			}
		}
		if opened != 1 {
			t.Errorf("%d events say that the circuit opened", opened)
		}
		checkRecovery(t, catalog, store, needsApproval)
	})
}

func checkRecovery(t *testing.T, catalog *karn.Catalog, store *approvals, request karn.Request) {
	t.Helper()
	if _, err := catalog.Select(t.Context(), karn.Request{BlueprintID: "BP001"}); err != nil {
		t.Errorf("a blueprint that needs no approval was denied: %v", err)
	}
	time.Sleep(31 * time.Second)
	store.err, store.grant = nil, karn.Grant{Approved: []string{"BP039"}}
	if state := catalog.Stats().Circuit; state != 3 {
		t.Errorf("state %v, want half open", state)
	}
	if _, err := catalog.Select(t.Context(), request); err != nil {
		t.Errorf("standing approval not honoured: %v", err)
	}
	if state := catalog.Stats().Circuit; state != 1 {
		t.Errorf("state %v, want closed", state)
	}
}

func TestACallerWhoGivesUpDoesNotOpenTheCircuit(t *testing.T) {
	store := &approvals{err: context.Canceled}
	catalog := karn.NewCatalogWith(karn.Config{Failures: 1, Approvals: store.lookup})
	request := karn.Request{BlueprintID: "BP039", Parameters: map[string]float64{"steps": 3}}
	for range 3 {
		if _, err := catalog.Select(t.Context(), request); !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v", err)
		}
	}
	if state := catalog.Stats().Circuit; state != 1 || store.calls != 3 {
		t.Errorf("state %v after %d look-ups", state, store.calls)
	}
}

func TestEventsDoNotPileUpWhenNobodyReadsThem(t *testing.T) {
	catalog := karn.NewCatalogWith(karn.Config{MaxEvents: 3})
	for range 100 {
		_, _ = catalog.Select(t.Context(), karn.Request{BlueprintID: "BP099"})
	}
	_, _ = catalog.Select(t.Context(), karn.Request{BlueprintID: "BP001"})
	events := catalog.DrainEvents()
	if len(events) != 3 || events[2].Description != "karn.selection_succeeded" || events[2].EventId != "evt-3" {
		t.Errorf("kept %v", eventNames(events))
	}
}
