package rules

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"
)

// document is the file as it is written.
type document struct {
	Grouping   writtenGrouping    `yaml:"grouping,omitempty"`
	Receivers  []writtenReceiver  `yaml:"receivers,omitempty"`
	Rules      []writtenRule      `yaml:"rules,omitempty"`
	Objectives []writtenObjective `yaml:"objectives,omitempty"`
}

type writtenGrouping struct {
	Wait     span `yaml:"wait,omitempty"`
	Interval span `yaml:"interval,omitempty"`
	Repeat   span `yaml:"repeat,omitempty"`
}

type writtenReceiver struct {
	Name      string `yaml:"name,omitempty"`
	URL       string `yaml:"url,omitempty"`
	URLFile   string `yaml:"url_file,omitempty"`
	PerMinute int    `yaml:"per_minute,omitempty"`
}

type writtenRule struct {
	Name      string           `yaml:"name,omitempty"`
	Summary   string           `yaml:"summary,omitempty"`
	Severity  string           `yaml:"severity,omitempty"`
	Runbook   string           `yaml:"runbook,omitempty"`
	Metric    string           `yaml:"metric,omitempty"`
	Event     string           `yaml:"event,omitempty"`
	Sources   texts            `yaml:"sources,omitempty"`
	Match     map[string]texts `yaml:"match,omitempty"`
	By        texts            `yaml:"by,omitempty"`
	When      string           `yaml:"when,omitempty"`
	Count     int              `yaml:"count,omitempty"`
	For       span             `yaml:"for,omitempty"`
	Linger    span             `yaml:"linger,omitempty"`
	Quiet     span             `yaml:"quiet,omitempty"`
	Absent    span             `yaml:"absent,omitempty"`
	Clear     texts            `yaml:"clear,omitempty"`
	Receivers texts            `yaml:"receivers,omitempty"`
}

type writtenObjective struct {
	Name      string  `yaml:"name,omitempty"`
	Summary   string  `yaml:"summary,omitempty"`
	Runbook   string  `yaml:"runbook,omitempty"`
	Target    float64 `yaml:"target,omitempty"`
	Window    span    `yaml:"window,omitempty"`
	Sources   texts   `yaml:"sources,omitempty"`
	Metric    string  `yaml:"metric,omitempty"`
	Good      string  `yaml:"good,omitempty"`
	Total     texts   `yaml:"total,omitempty"`
	Bad       texts   `yaml:"bad,omitempty"`
	Receivers texts   `yaml:"receivers,omitempty"`
}

// span is a duration such as 90s, 1h30m or 30d.
type span time.Duration

// noSpan is one that cannot be read. The parser says so, so that it hides no other fault.
const noSpan span = -1

func (s *span) UnmarshalYAML(node *yaml.Node) error {
	*s = noSpan
	if d, err := Duration(node.Value); err == nil {
		*s = span(d)
	}
	return nil
}

// Duration is what a text such as 90s, 1h30m or 30d says.
func Duration(text string) (time.Duration, error) {
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return d, nil
	}
	d, err := model.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%q is no duration such as 90s, 5m or 30d", text)
	}
	return time.Duration(d), nil
}

// MarshalYAML writes what UnmarshalYAML reads.
func (s span) MarshalYAML() (any, error) { return time.Duration(s).String(), nil }

// texts is a text or a list of them.
type texts []string

func (t *texts) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode {
		*t = texts{node.Value}
		return nil
	}
	return node.Decode((*[]string)(t))
}

// read decodes the one document of a file, strictly. Its faults come all at once.
func read(data []byte) (*document, *yaml.Node, error) {
	var d document
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	decoder.KnownFields(true)
	if err := decoder.Decode(&d); err != nil {
		return nil, nil, faultsOf(err)
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, nil, FaultsError{"there is more than one document"}
	}
	var tree yaml.Node
	if err := yaml.Unmarshal(data, &tree); err != nil {
		return nil, nil, faultsOf(err)
	}
	return &d, &tree, nil
}

func faultsOf(err error) FaultsError {
	if of, is := errors.AsType[*yaml.TypeError](err); is {
		return FaultsError(of.Errors)
	}
	if errors.Is(err, io.EOF) {
		return FaultsError{"it is empty"}
	}
	return FaultsError{err.Error()}
}

// lineOf is where a part of the file stands: the path is of keys of mappings and places in
// lists. It is that of the nearest part that is there.
func lineOf(tree *yaml.Node, path ...any) int {
	node, line := tree, 1
	if node.Kind == yaml.DocumentNode && len(node.Content) > 0 {
		node = node.Content[0]
	}
	for _, step := range path {
		next := child(node, step)
		if next == nil {
			break
		}
		node, line = next, next.Line
	}
	return line
}

// textOf is what a part of the file says, when it is there.
func textOf(tree *yaml.Node, path ...any) string {
	node := tree.Content[0] // what could be read has one
	for _, step := range path {
		if node = child(node, step); node == nil {
			return ""
		}
	}
	return node.Value
}

func child(node *yaml.Node, step any) *yaml.Node {
	switch step := step.(type) {
	case int:
		if step < len(node.Content) {
			return node.Content[step]
		}
	case string:
		for i := 0; i+1 < len(node.Content); i += 2 {
			if node.Content[i].Value == step {
				return node.Content[i+1]
			}
		}
	}
	return nil
}
