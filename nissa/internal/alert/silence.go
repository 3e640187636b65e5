package alert

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Silence keeps alerts from being told. What is empty in it matches all; a * at the end of a
// text matches any rest.
type Silence struct {
	ID      string            `json:"id"`
	Rule    string            `json:"rule,omitempty"`
	Source  string            `json:"source,omitempty"`
	Labels  map[string]string `json:"labels,omitempty"`
	From    time.Time         `json:"from"`
	Until   time.Time         `json:"until"`
	By      string            `json:"by"`
	Comment string            `json:"comment,omitempty"`
}

func (s Silence) matches(subject Subject) bool {
	if !alike(s.Rule, subject.Rule) || !alike(s.Source, subject.Source) {
		return false
	}
	for name, wanted := range s.Labels {
		if text, has := subject.Labels[name]; !has || !alike(wanted, text) {
			return false
		}
	}
	return true
}

// Concerns says whether the silence may keep alerts of a rule from being told.
func (s Silence) Concerns(rule string) bool { return alike(s.Rule, rule) }

func alike(pattern, text string) bool {
	if prefix, open := strings.CutSuffix(pattern, "*"); open {
		return strings.HasPrefix(text, prefix)
	}
	return pattern == "" || pattern == text
}

// Silences are those that hold, earlier ones first.
type Silences []Silence

// At are those that hold at a time.
func (s Silences) At(now time.Time) Silences {
	held := slices.DeleteFunc(slices.Clone(s), func(one Silence) bool { return !now.Before(one.Until) })
	slices.SortFunc(held, func(a, b Silence) int { return cmp.Or(a.From.Compare(b.From), cmp.Compare(a.ID, b.ID)) })
	return held
}

// Of are the ids of those that keep a subject from being told.
func (s Silences) Of(subject Subject, now time.Time) (ids []string) {
	for _, silence := range s {
		if now.Before(silence.Until) && !now.Before(silence.From) && silence.matches(subject) {
			ids = append(ids, silence.ID)
		}
	}
	return ids
}
