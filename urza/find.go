package urza

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/esper-lite/weatherlight/leyline"
)

// Query narrows Find; a field that is not set matches everything.
type Query struct {
	Tier  leyline.BlueprintTier // UNSPECIFIED is any
	Stage *uint32
	Tag   string // one of the record's tags, whatever its case
	Text  string // in id, name, description or a tag, whatever its case
}

// Find reads the records that match, from the catalogue itself, ordered by
// blueprint id. Unreadable rows are treated as by List.
func (l *Library) Find(ctx context.Context, query Query) ([]*Record, error) {
	found, err := l.collect(ctx, l.catalogue.Each, query.matches)
	if err != nil {
		return nil, fmt.Errorf("urza: find: %w", err)
	}
	return found, nil
}

func (q Query) matches(record *Record) bool {
	d := record.Descriptor
	tags := record.Tags()
	switch {
	case q.Tier != leyline.BlueprintTier_BLUEPRINT_TIER_UNSPECIFIED && q.Tier != d.GetTier():
		return false
	case q.Stage != nil && *q.Stage != d.GetStage():
		return false
	case q.Tag != "" && !slices.ContainsFunc(tags, func(tag string) bool { return strings.EqualFold(tag, q.Tag) }):
		return false
	}
	words := append([]string{d.GetBlueprintId(), d.GetName(), d.GetDescription()}, tags...)
	return slices.ContainsFunc(words, func(word string) bool {
		return strings.Contains(strings.ToLower(word), strings.ToLower(q.Text))
	})
}

// Tags are the labels stored beside the descriptor, in their order.
func (r *Record) Tags() []string {
	list, _ := r.Extras["tags"].([]any)
	var tags []string
	for _, value := range list {
		if tag := text(value); tag != "" {
			tags = append(tags, tag)
		}
	}
	return tags
}
