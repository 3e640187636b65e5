package rules_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/nissa/internal/rules"
)

// toldElsewhere are what no service but Nissa tells, with who does.
var toldElsewhere = map[string]string{
	"nissa.bus.up": "Nissa, of itself", "nissa.notifications.failed_in_a_row": "Nissa, of itself",
	"tamiyo.gnn.feature_coverage": "the Tamiyo of the prototype, which has a graph network",
	"tolaria.training.latency_ms": "trainers of the prototype",
	"tolaria.graph.replay_ms":     "trainers of the prototype that capture graphs",
	"tolaria.graph_fallback":      "trainers of the prototype that capture graphs",
}

// What the shipped rules and objectives look at is told by somebody. Two rules of the prototype and
// all of its objectives looked at metrics that nobody sent.
func TestN3WhatTheShippedFileLooksAtIsTold(t *testing.T) {
	file, err := rules.Parse(rules.Default(rules.Thresholds{}), "")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, rule := range file.Rules {
		names = append(append(names, rule.Metric, rule.Event), rule.Clear...)
	}
	for _, objective := range file.Objectives {
		names = append(append(append(names, objective.Metric), objective.Total...), objective.Bad...)
	}
	sources, looked := production(t), 0
	for _, name := range names {
		if name == "" {
			continue
		}
		looked++
		_, elsewhere := toldElsewhere[name]
		if told := strings.Contains(sources, `"`+strings.TrimSuffix(name, "*")); told == elsewhere {
			t.Errorf("%s is told by a service: %v", name, told)
		}
	}
	if looked < 30 {
		t.Errorf("only %d names", looked)
	}
}

// silent are the folders of what only plays what is told, names it or passes it on.
var silent = []string{
	".git", "bench", "internal", "nissa", "python", "var", "weatherlight/internal/summary",
}

// production is the text of all services that tell something.
func production(t *testing.T) string {
	t.Helper()
	root := filepath.Join("..", "..", "..")
	var text strings.Builder
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		inside, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if entry.IsDir() && slices.Contains(silent, filepath.ToSlash(inside)) {
			return fs.SkipDir
		}
		if filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		source, err := os.ReadFile(path)
		text.Write(source)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return text.String()
}
