package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/cmd/internal/process"
	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tamiyo/policy"
	"github.com/esper-lite/weatherlight/tamiyo/policy/inspect"
	"github.com/esper-lite/weatherlight/tamiyo/policy/journal"
	"github.com/esper-lite/weatherlight/tamiyo/policy/network"
	"github.com/esper-lite/weatherlight/tamiyo/policy/payloads"
	"github.com/esper-lite/weatherlight/urza"
)

func TestWhatIsKnownOfABlueprintIsShown(t *testing.T) {
	at := time.Date(2026, 11, 30, 8, 0, 0, 0, time.UTC)
	slot := features(32)
	slot.evidence = func(_ context.Context, id string) (urza.Evidence, error) {
		return urza.Evidence{
			BSDS: &leyline.BSDS{
				BlueprintId: id, RiskScore: 0.75, HazardBand: leyline.HazardBand_HAZARD_BAND_HIGH, Recommendation: "watch\x1b[31m it",
				HandlingClass:   leyline.HandlingClass_HANDLING_CLASS_RESTRICTED,
				ResourceProfile: leyline.ResourceProfile_RESOURCE_PROFILE_GPU,
				Provenance:      leyline.Provenance_PROVENANCE_URABRASK, IssuedAt: timestamppb.New(at),
			},
			Failed: &urza.JudgementFailure{Reason: "timeout", At: at},
			Benchmarks: []*leyline.BlueprintBenchmark{{Device: "cuda", Profiles: []*leyline.BlueprintBenchmarkProfile{
				{Name: "batch_1", P50LatencyMs: 2, P95LatencyMs: 3, ThroughputSamplesPerS: 500},
			}}},
			Outcomes: urza.Outcomes{Tried: 4, Kept: 2, Gain: 0.5},
		}, nil
	}
	var out bytes.Buffer
	if err := showBlueprint(t.Context(), slot, "BP009", in(t, "wide"), &out); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"risk 0.75, hazard high, handling restricted, resources gpu, by urabrask at 2026-11-30T08:00:00Z",
		"timeout, at 2026-11-30T08:00:00Z", "cuda, batch_1: p50 2 ms, p95 3 ms, 500 samples/s", "2 kept of 4, mean gain 25.0 %",
	} {
		if !strings.Contains(out.String(), text) {
			t.Errorf("no %q in\n%s", text, out.String())
		}
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Error("a terminal obeys what somebody else wrote")
	}
	out.Reset()
	if err := showBlueprint(t.Context(), slot, "BP009", in(t, "json"), &out); err != nil {
		t.Fatal(err)
	}
	var entry blueprintEntry
	if err := json.Unmarshal(out.Bytes(), &entry); err != nil || entry.Known.Judged.Hazard != "high" || entry.Known.Kept != 2 {
		t.Errorf("%s: %v", out.String(), err)
	}
}

// policiesIn keeps a policy that decides, one that cannot, and one that was announced.
func policiesIn(t *testing.T) (dir, digest string) {
	t.Helper()
	dir = t.TempDir()
	store, err := policy.Open(policy.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	b := kernel.NewBuilder("policy", network.Features)
	b.Node("Identity", []string{"host"}, "seed")
	file, err := b.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	digest = payloads.ReferTo(file).Checksum
	at := time.Now().Add(-time.Minute)
	for _, step := range []struct {
		id         string
		payload    []byte
		attributes map[string]string
	}{
		{"network", file, nil}, {"", nil, journal.ToShadow.Attributes(digest)}, {"", nil, journal.Activate.Attributes(digest)},
		{"pickle", []byte("\x80\x04"), nil}, {"announced", nil, nil},
	} {
		at = at.Add(time.Second)
		update := &leyline.PolicyUpdate{
			PolicyId: step.id, TamiyoPolicyVersion: "v of " + step.id, IssuedAt: timestamppb.New(at), Payload: step.payload,
		}
		if err := store.Accept(t.Context(), update, step.attributes); err != nil {
			t.Fatal(err)
		}
	}
	return dir, digest
}

func TestPoliciesAreListedAndShown(t *testing.T) {
	dir, digest := policiesIn(t)
	kept, err := inspect.Folder(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := listPolicies(kept, in(t, "json"), &out); err != nil {
		t.Fatal(err)
	}
	var entries []policyEntry
	if err := json.Unmarshal(out.Bytes(), &entries); err != nil {
		t.Fatal(err)
	}
	roles := map[string]string{}
	for _, e := range entries {
		roles[e.ID] = strings.Join(e.Roles, " ")
	}
	if len(entries) != 3 || roles["network"] != "active previous" || roles["pickle"] != "newest" || roles["announced"] != "announced" {
		t.Errorf("roles %v", roles)
	}
	for name, want := range map[string]string{
		"network": "can decide", digest[:8]: "can decide", digest: digest, "pickle": "decides nothing", "announced": "it has no payload",
	} {
		out.Reset()
		if err := showPolicy(dir, kept, name, in(t, "wide"), &out); err != nil || !strings.Contains(out.String(), want) {
			t.Errorf("%s: no %q in\n%s%v", name, want, out.String(), err)
		}
		out.Reset()
		if err := showPolicy(dir, kept, name, in(t, "json"), &out); err != nil || !json.Valid(out.Bytes()) || !strings.Contains(out.String(), want) {
			t.Errorf("%s as JSON: no %q in\n%s%v", name, want, out.String(), err)
		}
	}
	for _, name := range []string{"nobody", digest[:7], ""} {
		if err := showPolicy(dir, kept, name, in(t, "wide"), &out); err == nil {
			t.Errorf("%q was found", name)
		}
	}
}

func TestShadowIsComparedOverAllRuns(t *testing.T) {
	shadows := map[string]string{
		"a": `{"policy":"v2","agreed":3,"differed":1}`, "b/c": `{"policy":"v2","differed":2}`, "d": `{}`, "e": `{"policy":"v1","agreed":1}`,
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != "Bearer token-of-the-test":
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path == "/runs" && r.URL.Query().Get("after") == "":
			fmt.Fprint(w, `{"runs":["a","b/c"],"next":"b/c"}`)
		case r.URL.Path == "/runs":
			fmt.Fprint(w, `{"runs":["d","e"]}`)
		default:
			fmt.Fprintf(w, `{"tamiyo":{"shadow":%s}}`, shadows[strings.TrimPrefix(r.URL.Path, "/runs/")])
		}
	}))
	defer server.Close()
	compare := func(token string) ([]comparedEntry, error) {
		t.Setenv("WEATHERLIGHT_HTTP_TOKEN", token)
		service, err := weatherlightAt([]string{server.URL})
		if err != nil {
			t.Fatal(err)
		}
		return compareRuns(t.Context(), service)
	}
	t.Chdir(t.TempDir())
	got, err := compare("token-of-the-test")
	if err != nil {
		t.Fatal(err)
	}
	want := []comparedEntry{{"v1", 1, 1, 0}, {"v2", 2, 3, 3}}
	if !slices.Equal(got, want) {
		t.Errorf("compared %v, want %v", got, want)
	}
	if _, err := compare(""); process.ExitCode(err) != process.ExitConfiguration {
		t.Errorf("without a token: %v", err)
	}
}
