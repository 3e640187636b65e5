package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/nissa/internal/runs"
	"github.com/esper-lite/weatherlight/telemetry"
)

// answersOf are the schemas of what is read as JSON, by path.
func answersOf(document object) map[string]object {
	found := map[string]object{}
	for path, methods := range document["paths"].(object) {
		get, is := methods.(object)["get"].(object)
		if !is {
			continue
		}
		content, _ := get["responses"].(object)["200"].(object)["content"].(object)
		if media, is := content["application/json"].(object); is && media["schema"].(object)["$ref"] != nil {
			found[path] = media["schema"].(object)
		}
	}
	return found
}

func TestAnswersAreAsTheDocumentSays(t *testing.T) {
	s := serve(t)
	s.fill()
	document := into[object](s, "/api/openapi.json")
	schemas := document["components"].(object)["schemas"].(object)
	for path, schema := range answersOf(document) {
		answer := into[any](s, strings.NewReplacer("{run}", "run-1", "{seed}", "s-1").Replace(path))
		for _, fault := range check(schemas, schema, answer, path) {
			t.Error(fault)
		}
		for key, value := range answer.(object) {
			if list, is := value.([]any); is && len(list) == 0 {
				t.Errorf("%s of %s is empty: nothing of it was compared", key, path)
			}
		}
	}
}

func TestRunsArePaged(t *testing.T) {
	s := serve(t)
	s.fill()
	first := into[runsAnswer](s, "/api/runs?limit=1")
	if len(first.Runs) != 1 || first.Runs[0].ID != "run-1" || first.Next == nil || first.Head == 0 || first.Runs[0].State != runs.Silent ||
		first.Runs[0].Reports != 30 || first.Runs[0].Seeds["FOSSILIZED"] != 1 || len(first.Runs[0].Seeds) != 1 || first.Runs[0].Experiment != "digits" {
		t.Errorf("%+v", first)
	}
	second := into[runsAnswer](s, "/api/runs?limit=2&before="+url.QueryEscape(*first.Next))
	if len(second.Runs) != 1 || second.Runs[0].ID != "run/2 ?" || second.Next != nil {
		t.Errorf("%+v", second)
	}
	if other := into[runView](s, "/api/runs/"+url.PathEscape("run/2 ?")); other.ID != "run/2 ?" {
		t.Errorf("%+v", other)
	}
}

// Runs that were heard of at one time are on one page or the next, each once.
func TestRunsOfOneTimeArePaged(t *testing.T) {
	s := serve(t)
	var messages []runs.Message
	for i := range 7 {
		messages = append(messages, runs.Message{Stream: "s", Entry: fmt.Sprint(i), Payload: report(fmt.Sprint("run,", i), 1), At: time.Unix(1e9, 0)})
	}
	if _, err := s.store.Put(t.Context(), messages); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for path := "/api/runs?limit=3"; path != ""; {
		page := into[struct {
			Runs []runView
			Next *string
		}](s, path)
		for _, r := range page.Runs {
			ids = append(ids, r.ID)
		}
		if path = ""; page.Next != nil {
			path = "/api/runs?limit=3&before=" + url.QueryEscape(*page.Next)
		}
	}
	if got := strings.Join(ids, " "); got != "run,0 run,1 run,2 run,3 run,4 run,5 run,6" {
		t.Error(got)
	}
}

// A run of which next to nothing is known has answers of the same form.
func TestAnswersOfAnEmptyRunAreAsTheDocumentSays(t *testing.T) {
	s := serve(t)
	s.tell(command("run-1")) // a seed without stages and without a curve
	document := into[object](s, "/api/openapi.json")
	schemas := document["components"].(object)["schemas"].(object)
	for path, schema := range answersOf(document) {
		answer := into[any](s, strings.NewReplacer("{run}", "run-1", "{seed}", "s-1").Replace(path))
		for _, fault := range check(schemas, schema, answer, path) {
			t.Error(fault)
		}
	}
}

// The stages of a seed are made of all that it was in, however much else happened to it.
func TestStagesOfABusySeed(t *testing.T) {
	s := serve(t)
	s.tell(report("run-1", 1))
	var many []proto.Message
	for range mostLimit + 10 {
		many = append(many, command("run-1"))
	}
	s.tell(many...)
	s.tell(&leyline.TelemetryPacket{SourceSubsystem: "kasmina",
		SystemHealth: &leyline.SystemHealth{Indicators: map[string]string{"training_run_id": "run-1", "seed_id": "s-1"}},
		Events:       []*leyline.TelemetryEvent{{Description: "seed_stage", Attributes: map[string]string{"stage": "SEED_STAGE_CULLED"}}}})
	if seed := into[seedAnswer](s, "/api/runs/run-1/seeds/s-1").Seed; len(seed.Stages) != 2 || seed.Stages[1].Stage != "CULLED" {
		t.Errorf("%+v", seed)
	}
}

func TestSeedIsShownWithWhatBecameOfIt(t *testing.T) {
	s := serve(t)
	s.fill()
	seeds := into[seedsAnswer](s, "/api/runs/run-1/seeds").Seeds
	if len(seeds) != 1 || len(seeds[0].Stages) != 2 || seeds[0].Stages[1].Stage != "FOSSILIZED" || seeds[0].Stages[1].To != nil {
		t.Errorf("%+v", seeds)
	}
	seed := into[seedAnswer](s, "/api/runs/run-1/seeds/s-1?points=10")
	if seed.Seed.Stage != "FOSSILIZED" || len(seed.Points) > 11 || len(seed.Events) != 4 {
		t.Errorf("%+v", seed)
	}
	if curve := into[reportsAnswer](s, "/api/runs/run-1/reports?points=10").Reports; len(curve) > 11 || len(curve) < 5 {
		t.Errorf("%d reports", len(curve))
	}
	commands := into[eventsAnswer](s, "/api/runs/run-1/events?kind=command").Events
	if len(commands) != 1 || commands[0].Details["risk_reason"] != "validation_stalled" {
		t.Errorf("%+v", commands)
	}
	all := into[eventsAnswer](s, "/api/events?after=0&limit=2").Events
	if len(all) != 2 || all[0].Seq >= all[1].Seq {
		t.Errorf("%+v", all)
	}
	if newest := into[eventsAnswer](s, fmt.Sprint("/api/events?before=", all[1].Seq)).Events; len(newest) != 1 {
		t.Errorf("%+v", newest)
	}
	told := []proto.Message{telemetry.New("nissa", "asked").Event("silence_begun", leyline.TelemetryLevel_TELEMETRY_LEVEL_INFO, "by", "ann").Build()}
	for range defaultLimit {
		told = append(told, telemetry.New("tezzeret", "forge").Event("compile_started", leyline.TelemetryLevel_TELEMETRY_LEVEL_INFO).Build())
	}
	s.tell(told...)
	if asked := into[eventsAnswer](s, "/api/events?kind=event&names=silence_begun,silence_ended").Events; len(asked) != 1 || asked[0].Details["by"] != "ann" {
		t.Errorf("what was asked before much else was told is %+v", asked)
	}
	if workers := into[sourcesAnswer](s, "/api/workers").Sources; len(workers) != 1 || len(workers[0].Figures) != 1 {
		t.Errorf("%+v", workers)
	}
}

func TestExportIsWhatCanBeImported(t *testing.T) {
	s := serve(t)
	s.fill()
	status, header, body := s.get("/api/runs/" + url.PathEscape("run/2 ?") + "/export")
	if status != http.StatusOK || header.Get("Content-Type") != "application/x-ndjson" || !strings.Contains(header.Get("Content-Disposition"), "attachment") {
		t.Errorf("%d %v", status, header)
	}
	if ids, err := serve(t).store.Import(t.Context(), strings.NewReader(body), false); err != nil || len(ids) != 1 {
		t.Errorf("%v, %v", ids, err)
	}
}

func TestRequestsThatCannotBeAnswered(t *testing.T) {
	s := serve(t)
	s.fill()
	for path, want := range map[string]int{
		"/api/runs/nobody": 404, "/api/runs/nobody/seeds": 404, "/api/runs/nobody/events": 404, "/api/runs/nobody/export": 404,
		"/api/runs/nobody/reports": 404, "/api/runs/run-1/seeds/nobody": 404, "/api/nothing": 404, "/api/runs?limit=0": 400, "/api/runs?limit=x": 400,
		"/api/runs?before=yesterday": 400, "/api/runs/run-1/reports?points=1": 400, "/api/events?after=-1": 400, "/api/events?kind=nothing": 400,
		"/api/events?names=" + strings.Repeat("a,", 32): 400, "/api/stream?after=x": 400,
		"/api/runs?limit=99999999": 200,
	} {
		status, header, body := s.get(path)
		var said problem
		if err := json.Unmarshal([]byte(body), &said); status != want || err != nil || want != 200 && said.Error == "" {
			t.Errorf("%s: %d %s", path, status, body)
		}
		if header.Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s: %v", path, header)
		}
	}
	response, err := s.server.Client().Post(s.server.URL+"/api/runs", "text/plain", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", response.StatusCode)
	}
}

func TestStoreThatIsAwayIsSaidSo(t *testing.T) {
	s := serve(t)
	if err := s.store.Close(); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/api/runs", "/api/runs/r", "/api/alarms", "/api/sources", "/api/store", "/api/events", "/api/runs/r/export"} {
		if status, _, body := s.get(path); status != http.StatusServiceUnavailable || strings.Contains(body, "sql") {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}

func TestHostileNamesStayData(t *testing.T) {
	s := serve(t)
	for _, name := range []string{"<script>alert(1)</script>", "a\nb\r\n\r\nevent: forged", "\xff\x00", strings.Repeat("é", 1<<19), `"};//`} {
		f := s.follow("", "")
		told := report(name, 1)
		told.TrainingMetrics = map[string]float32{name: 1}
		s.tell(told)
		if frame := f.next(); frame["event"] != "event" || len(frame) != 3 {
			t.Errorf("%.40q: %v", name, frame)
		}
		if frame := f.next(); frame["event"] != "report" || len(frame) != 3 || len(frame["data"]) > 4096 || strings.Contains(frame["data"], "<script") {
			t.Errorf("%.40q: %v", name, frame)
		}
		f.close()
	}
	if all := into[runsAnswer](s, "/api/runs"); len(all.Runs) != 5 {
		t.Errorf("%d runs", len(all.Runs))
	}
}

// A thousand sources, each of which says as much as it can, come page by page, and none is left out.
func TestSourcesComePageByPage(t *testing.T) {
	s := serve(t)
	attributes := map[string]string{}
	for n := range 40 {
		attributes[fmt.Sprint("attribute-", n)] = strings.Repeat("x", 500)
	}
	const all = 200
	for n := range all {
		p := &leyline.TelemetryPacket{SourceSubsystem: fmt.Sprintf("s-%03d", n), PacketId: "p"}
		for m := range 10 {
			p.Metrics = append(p.Metrics, &leyline.MetricPoint{Name: fmt.Sprint([]string{"urza.", "other."}[n%2], m), Value: 1, Attributes: attributes})
		}
		s.tell(p)
	}
	for path, want := range map[string]int{"/api/sources?limit=1000": all, "/api/sources?limit=7": all, "/api/kernels?limit=3": all / 2, "/api/workers?limit=3": 0} {
		seen := map[string]bool{}
		for after := ""; ; {
			status, _, body := s.get(path + "&after=" + url.QueryEscape(after))
			if len(body) > 6<<20 || status != http.StatusOK {
				t.Fatalf("%s: %d, %d bytes", path, status, len(body))
			}
			var answer sourcesAnswer
			if err := json.Unmarshal([]byte(body), &answer); err != nil {
				t.Fatal(err)
			}
			for _, source := range answer.Sources {
				seen[source.Name] = true
			}
			if answer.Next == nil {
				break
			}
			after = *answer.Next
		}
		if len(seen) != want {
			t.Errorf("%s: %d sources, wanted %d", path, len(seen), want)
		}
	}
}

// A name that no store can have is that of nothing, whatever the database.
func TestNamesThatNoStoreHas(t *testing.T) {
	s := serve(t)
	for path, want := range map[string]int{
		"/api/runs/a%00b": http.StatusNotFound, "/api/runs/%ff/seeds": http.StatusNotFound, "/api/runs/a/seeds/%00": http.StatusNotFound,
		"/api/runs/%00/export": http.StatusNotFound, "/api/events?run=%00": http.StatusBadRequest, "/api/sources?after=%ff": http.StatusBadRequest,
	} {
		if status, _, body := s.get(path); status != want {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}

// Of a run of very many seeds those that were heard of last are told.
func TestSeedsAreBounded(t *testing.T) {
	s := serve(t)
	for n := range 12 {
		for i := range 100 {
			s.tell(&leyline.TelemetryPacket{SourceSubsystem: "kasmina", PacketId: fmt.Sprint(n, "-", i),
				Timestamp:    timestamppb.New(time.Now().Add(time.Duration(n-20) * time.Minute)),
				SystemHealth: &leyline.SystemHealth{Indicators: map[string]string{"training_run_id": "crowd", "seed_id": fmt.Sprintf("s-%02d-%02d", n, i)}}})
		}
	}
	for path, want := range map[string]int{"/api/runs/crowd/seeds": 1000, "/api/runs/crowd/seeds?limit=10": 10, "/api/runs/crowd/seeds?limit=5000": 1200} {
		seeds := into[seedsAnswer](s, path).Seeds
		if len(seeds) != want || !strings.HasPrefix(seeds[len(seeds)-1].ID, "s-11-") {
			t.Errorf("%s: %d seeds", path, len(seeds))
		}
	}
}
