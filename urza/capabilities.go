package urza

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// MergeCapabilities records which parameters of a blueprint each seed may use, as
// graph_metadata.capabilities.allowed_parameters_by_seed_id, replaced whole: a seed
// that is not in bySeed loses its entry. Names that the blueprint's graph metadata
// does not know are left out; when it knows none, all are kept. It reports whether
// the row changed. A row without graph metadata has nothing to restrict and stays.
// Errors: ErrNotFound, ErrUnavailable.
func (l *Library) MergeCapabilities(
	ctx context.Context, blueprintID string, bySeed map[string][]string,
) (changed bool, err error) {
	if l.closed.Load() {
		return false, fmt.Errorf("urza: merge capabilities: %w: library closed", ErrUnavailable)
	}
	// Read, modify and write in one transaction: whoever else writes this row waits.
	err = l.catalogue.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		changed, err = mergeRow(ctx, tx, blueprintID, bySeed)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("urza: merge capabilities of %q: %w", blueprintID, err)
	}
	if changed {
		l.forget(key{id: blueprintID})
	}
	return changed, nil
}

func mergeRow(ctx context.Context, tx *sql.Tx, id string, bySeed map[string][]string) (bool, error) {
	old, err := scanRow(tx.QueryRowContext(ctx, selectRow, id))
	if err != nil {
		return false, err
	}
	metadata, err := mergeMetadata(old.metadata, bySeed)
	if err != nil {
		return false, &RowError{id, err.Error()}
	}
	if metadata == "" {
		return false, nil
	}
	if _, err := tx.ExecContext(ctx, updateMetadata, metadata, id); err != nil {
		return false, fmt.Errorf("%w: write row: %w", ErrUnavailable, err)
	}
	return true, nil
}

// object is a JSON object whose values keep their text until they are needed, so
// that what is not ours to change is written back as it was.
type object map[string]json.RawMessage

// mergeMetadata returns the new metadata_json, or "" when nothing changes.
func mergeMetadata(text string, bySeed map[string][]string) (string, error) {
	var metadata, extras, graph, capabilities object
	if err := json.Unmarshal(finiteJSON(text), &metadata); err != nil {
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
		raw = finiteJSON(quoted)
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
