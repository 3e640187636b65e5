package elastictest

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

const (
	ndjson = "application/x-ndjson"
	asJSON = "application/json"
	action = `{"create":{"_index":"telemetry","_id":"a"}}` + "\n"
	mapped = `{"index_patterns":["telemetry"],"template":{"mappings":{"dynamic":false,"properties":{"value":{"type":"double"}}}}}`
)

func ask(t *testing.T, s *Server, method, path, contentType, body string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, s.URL()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", contentType)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(answer)
}

func TestTheDoubleRefusesWhatElasticsearchRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		method, path, contentType, body string
		status                          int
		said                            string
	}{
		"in order":         {"POST", "/_bulk", ndjson, action + "{}\n", 200, `"status":201`},
		"content type":     {"POST", "/_bulk", "text/plain", action + "{}\n", 406, "media_type_header_exception"},
		"no content type":  {"POST", "/_bulk", "", action + "{}\n", 406, "media_type_header_exception"},
		"empty":            {"POST", "/_bulk", ndjson, "", 400, "parse_exception"},
		"no newline":       {"POST", "/_bulk", ndjson, action + "{}", 400, "terminated by a newline"},
		"unknown field":    {"POST", "/_bulk", ndjson, `{"create":{"_index":"i","_id":"a","_type":"d"}}` + "\n{}\n", 400, "unknown parameter [_type]"},
		"two actions":      {"POST", "/_bulk", ndjson, `{"create":{},"index":{}}` + "\n{}\n", 400, "Malformed action"},
		"no action":        {"POST", "/_bulk", ndjson, "{}\n{}\n", 400, "Malformed action"},
		"name of an index": {"POST", "/_bulk", ndjson, `{"create":{"_index":"Big","_id":"a"}}` + "\n{}\n", 400, "invalid index name"},
		"long id": {"POST", "/_bulk", ndjson, `{"create":{"_index":"i","_id":"` + strings.Repeat("x", 513) + `"}}` + "\n{}\n", 400,
			"id is too long"},
		"no source":         {"POST", "/_bulk", ndjson, action, 400, "without its source"},
		"source is no JSON": {"POST", "/_bulk", ndjson, action + "{\n", 200, "document_parsing_exception"},
		"empty field":       {"POST", "/_bulk", ndjson, action + `{"":1}` + "\n", 200, "document_parsing_exception"},
		"large":             {"POST", "/_bulk", ndjson, action + `{"a":"` + strings.Repeat("x", 2000) + `"}` + "\n", 413, ""},
		"path":              {"POST", "/bulk", ndjson, action + "{}\n", 400, "no handler"},
		"method":            {"GET", "/_bulk", ndjson, "", 400, "no handler"},
		"template":          {"PUT", "/_index_template/x", asJSON, mapped, 200, "acknowledged"},
		"template's type":   {"PUT", "/_index_template/x", ndjson, mapped, 406, "media_type_header_exception"},
		"template's name":   {"PUT", "/_index_template/X", asJSON, mapped, 400, "lower case"},
		"template's field": {"PUT", "/_index_template/x", asJSON, strings.Replace(mapped, "template", "templates", 1), 400,
			"unknown field"},
		"type of a mapping": {"PUT", "/_index_template/x", asJSON, strings.Replace(mapped, "double", "number", 1), 400, "no handler for type"},
		"parameter":         {"PUT", "/_index_template/x", asJSON, strings.Replace(mapped, `"double"`, `"double","enabled":false`, 1), 400, "unknown parameter"},
	} {
		s := Start(t)
		s.MaxBody = 1500
		status, said := ask(t, s, c.method, c.path, c.contentType, c.body)
		if status != c.status || !strings.Contains(said, c.said) {
			t.Errorf("%s: %d %s", name, status, said)
		}
		if complained := len(s.Complaints()) > 0; complained != (status == 400 || status == 406) {
			t.Errorf("%s: complaints %v", name, s.Complaints())
		}
	}
}

func TestTheDoubleKeepsTheFirstDocumentAndHoldsItsMapping(t *testing.T) {
	s := Start(t)
	if status, said := ask(t, s, "PUT", "/_index_template/x", asJSON, mapped); status != 200 {
		t.Fatal(said)
	}
	body := action + `{"value":1,"other":{"":1}}` + "\n" + action + `{"value":2}` + "\n" +
		`{"create":{"_index":"telemetry","_id":"b"}}` + "\n" + `{"value":"NaN"}` + "\n"
	status, said := ask(t, s, "POST", "/_bulk", ndjson, body)
	kept := s.Documents("telemetry")
	again, requests := s.Repeated()
	if status != 200 || len(kept) != 1 || kept["a"]["value"] != 1.0 || again != 1 || requests != 1 || strings.Count(said, `"error"`) != 2 {
		t.Errorf("%d %s: %v", status, said, kept)
	}
	s.User = "nissa"
	if status, _ := ask(t, s, "POST", "/_bulk", ndjson, body); status != 401 {
		t.Errorf("without a user: %d", status)
	}
}
