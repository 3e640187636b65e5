package nissa_test

import (
	"bytes"
	"fmt"

	"github.com/esper-lite/weatherlight/nissa"
)

// ExampleShippedRules writes the rules that a Nissa has of itself, to be changed and named by
// NISSA_RULES_FILE.
func ExampleShippedRules() {
	rules := nissa.ShippedRules(nissa.Thresholds{})
	fmt.Println(bytes.Contains(rules, []byte("bus_down")))
	// Output: true
}
