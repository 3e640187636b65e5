package elastictest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// known are what an action line may say beside its action.
var known = []string{
	"_index", "_id", "routing", "version", "version_type", "pipeline", "require_alias", "require_data_stream", "dynamic_templates",
	"if_seq_no", "if_primary_term", "retry_on_conflict",
}

// bulk is POST /_bulk. Actions other than create are complained of: nobody here asks for them.
func (s *Server) bulk(w http.ResponseWriter, contentType string, body []byte) {
	s.requests++
	if base, _, _ := strings.Cut(contentType, ";"); base != "application/x-ndjson" && base != "application/json" {
		s.complain(w, http.StatusNotAcceptable, "media_type_header_exception", "Content-Type header ["+contentType+"] is not supported")
		return
	}
	if len(body) == 0 {
		s.complain(w, http.StatusBadRequest, "parse_exception", "request body is required")
		return
	}
	if body[len(body)-1] != '\n' {
		s.complain(w, http.StatusBadRequest, "illegal_argument_exception", `The bulk request must be terminated by a newline [\n]`)
		return
	}
	lines := bytes.Split(body[:len(body)-1], []byte("\n"))
	if len(lines)%2 != 0 {
		s.complain(w, http.StatusBadRequest, "illegal_argument_exception", "an action without its source")
		return
	}
	type create struct{ index, id string }
	creates := make([]create, len(lines)/2)
	for i := range creates {
		index, id, err := readAction(lines[2*i])
		if err != nil {
			s.complain(w, http.StatusBadRequest, "illegal_argument_exception",
				fmt.Sprintf("Malformed action/metadata line [%d]: %v", 2*i+1, err))
			return
		}
		creates[i] = create{index, id}
	}
	items, failed := make([]any, len(creates)), false
	for i, c := range creates {
		status, kind := s.create(c.index, c.id, lines[2*i+1])
		item := map[string]any{"_index": c.index, "_id": c.id, "status": status}
		if kind != "" {
			failed = true
			item["error"] = map[string]any{"type": kind, "reason": "the double says so"}
		} else {
			item["result"], item["_version"] = "created", 1
		}
		items[i] = map[string]any{"create": item}
	}
	answer(w, http.StatusOK, map[string]any{"took": 1, "errors": failed, "items": items})
}

func readAction(line []byte) (index, id string, err error) {
	var action map[string]map[string]any
	if err := json.Unmarshal(line, &action); err != nil {
		return "", "", err
	}
	if len(action) != 1 || action["create"] == nil {
		return "", "", fmt.Errorf("expected one create, found %v", slices.Collect(maps.Keys(action)))
	}
	for name := range action["create"] {
		if !slices.Contains(known, name) {
			return "", "", fmt.Errorf("contains an unknown parameter [%s]", name)
		}
	}
	index, _ = action["create"]["_index"].(string)
	id, _ = action["create"]["_id"].(string)
	switch {
	case index == "" || index != strings.ToLower(index) || strings.ContainsAny(index, `\/*?"<>| ,#:`) || strings.HasPrefix(index, "_"):
		return "", "", fmt.Errorf("invalid index name [%s]", index)
	case id == "":
		return "", "", fmt.Errorf("if _id is specified it must not be empty")
	case len(id) > 512:
		return "", "", fmt.Errorf("id is too long, must be no longer than 512 bytes")
	}
	return index, id, nil
}

// create keeps a document. Kind is the type of the error, if there is one.
func (s *Server) create(index, id string, source []byte) (status int, kind string) {
	if s.faultItem != nil {
		if status, kind := s.faultItem(index, id); status != 0 {
			return status, kind
		}
	}
	if _, there := s.indices[index][id]; there {
		s.repeated++
		return http.StatusConflict, "version_conflict_engine_exception"
	}
	var document Document
	if err := json.Unmarshal(source, &document); err != nil {
		return http.StatusBadRequest, "document_parsing_exception"
	}
	if !s.mappingOf(index).takes(document) {
		return http.StatusBadRequest, "document_parsing_exception"
	}
	if s.indices[index] == nil {
		s.indices[index] = map[string]Document{}
	}
	s.indices[index][id] = document
	return http.StatusCreated, ""
}
