package drill_test

import (
	"context"
	"fmt"

	"github.com/esper-lite/weatherlight/nissa/drill"
)

// ExampleRun raises and clears a rule of one's own before it goes to work. A receiver of the drill's
// own hears of every rule.
func ExampleRun() {
	results, err := drill.Run(context.Background(), drill.Config{Rules: []byte(`
receivers: [{name: pager}]
rules:
- {name: hot, summary: a card is too hot, severity: warning, metric: card.temperature, when: value > 90, receivers: [pager]}
`)})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, r := range results {
		fmt.Println(r.Rule, r.Receivers, r.Fault == "", r.Raised > 0)
	}
	// Output: hot [pager drill] true true
}
