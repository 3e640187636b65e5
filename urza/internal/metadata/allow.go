package metadata

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// object is a JSON object whose values keep their text until they are needed, so
// that what is not ours to change is written back as it was.
type object map[string]json.RawMessage

// Allow replaces which parameters each seed may use, as
// graph_metadata.capabilities.allowed_parameters_by_seed_id, whole: a seed that is not in
// bySeed loses its entry. Names that the graph metadata does not know are left out; when it
// knows none, all are kept. It returns the new text, or "" when nothing changes: without
// graph metadata there is nothing to restrict.
func Allow(text string, bySeed map[string][]string) (string, error) {
	var metadata, extras, graph, capabilities object
	if err := json.Unmarshal(Finite(text), &metadata); err != nil {
		return "", fmt.Errorf("metadata: %w", err)
	}
	if err := unmarshalObject(metadata[extrasKey], &extras); err != nil {
		return "", fmt.Errorf("metadata %s: %w", extrasKey, err)
	}
	if err := unmarshalObject(extras["graph_metadata"], &graph); err != nil {
		return "", fmt.Errorf("graph_metadata: %w", err)
	}
	if graph == nil {
		return "", nil
	}
	if err := unmarshalObject(graph["capabilities"], &capabilities); err != nil {
		return "", fmt.Errorf("capabilities: %w", err)
	}
	allowed := filterNames(bySeed, parameterNames(graph["parameters"]))
	if sameAllowed(capabilities["allowed_parameters_by_seed_id"], allowed) {
		return "", nil
	}
	return rebuild(metadata, extras, graph, capabilities, allowed)
}

func rebuild(metadata, extras, graph, capabilities object, allowed map[string][]string) (string, error) {
	if capabilities == nil {
		capabilities = object{}
	}
	err := errors.Join(
		set(capabilities, "allowed_parameters_by_seed_id", allowed),
		set(graph, "capabilities", capabilities),
		set(extras, "graph_metadata", graph),
		set(metadata, extrasKey, extras),
	)
	if err != nil {
		return "", err
	}
	text, err := compactJSON(metadata)
	return string(text), err
}

func set(o object, key string, value any) error {
	text, err := compactJSON(value)
	o[key] = text
	return err
}

// unmarshalObject reads an object, or the JSON text of one in a string: the
// prototype's readers accept both. Nothing, null and "" leave it nil.
func unmarshalObject(raw json.RawMessage, into *object) error {
	var quoted string
	if json.Unmarshal(raw, &quoted) == nil {
		raw = Finite(quoted)
	}
	if len(raw) == 0 {
		return nil
	}
	return json.Unmarshal(raw, into)
}

// parameterNames are the names the blueprint's graph metadata declares.
func parameterNames(raw json.RawMessage) []string {
	var parameters []struct {
		Name string `json:"name"`
	}
	if json.Unmarshal(raw, &parameters) != nil {
		return nil
	}
	var names []string
	for _, p := range parameters {
		if p.Name != "" {
			names = append(names, p.Name)
		}
	}
	return names
}

func filterNames(bySeed map[string][]string, known []string) map[string][]string {
	allowed := make(map[string][]string, len(bySeed))
	for seed, names := range bySeed {
		kept := []string{} // a seed without any shows as an empty list, not as null
		for _, name := range names {
			if (len(known) == 0 || slices.Contains(known, name)) && !slices.Contains(kept, name) {
				kept = append(kept, name)
			}
		}
		allowed[seed] = kept
	}
	return allowed
}

func sameAllowed(raw json.RawMessage, allowed map[string][]string) bool {
	var stored map[string][]string
	if json.Unmarshal(raw, &stored) != nil || stored == nil {
		return false
	}
	return maps.EqualFunc(stored, allowed, slices.Equal[[]string])
}
