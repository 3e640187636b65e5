package health

import (
	"os"
	"slices"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// Somebody is told of each alarm that is critical, and of no other as if it were.
func TestShippedRulesTellOfEachCriticalAlarm(t *testing.T) {
	text, err := os.ReadFile("../../../infra/observability/nissa-rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Rules []struct {
			Metric, Severity string
			Match            map[string]any
		}
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	var told, critical []string
	for _, rule := range file.Rules {
		if rule.Metric != "weatherlight.alarm" || rule.Severity != string(severityCritical) {
			continue
		}
		switch alarms := rule.Match["alarm"].(type) {
		case string:
			told = append(told, alarms)
		case []any:
			for _, name := range alarms {
				told = append(told, name.(string))
			}
		}
	}
	for _, c := range conditions(time.Minute) {
		if c.severity == severityCritical {
			critical = append(critical, c.name)
		}
	}
	slices.Sort(told)
	slices.Sort(critical)
	if !slices.Equal(told, critical) {
		t.Errorf("told of %q, critical are %q", told, critical)
	}
}
