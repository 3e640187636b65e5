package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDrillSaysWhatArrived(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rules.yml")
	for text, want := range map[string]string{
		"rules: [{name: hot, summary: s, severity: info, metric: heat, when: value > 9}]":              "RESULT drill rules=1 arrived=1\n",
		"rules: [{name: hot, summary: s, severity: info, metric: heat, when: value > 9 && value < 0}]": "RESULT drill rules=1 arrived=0\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		root, out := newRoot(), new(strings.Builder)
		root.SetOut(out)
		root.SetArgs([]string{"drill", "--rules", path})
		err := root.ExecuteContext(t.Context())
		if failed := strings.Contains(want, "arrived=0"); (err != nil) != failed || !strings.HasSuffix(out.String(), want) {
			t.Errorf("%v\n%s", err, out)
		}
	}
}
