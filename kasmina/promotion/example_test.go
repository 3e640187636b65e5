package promotion_test

import (
	"fmt"

	"github.com/esper-lite/weatherlight/kasmina/promotion"
)

// ExampleRead reads what a GERMINATE command asks of its seed beside the rules of the service.
func ExampleRead() {
	own, err := promotion.Read(map[string]string{"promotion_min_gain": "0.05"})
	rules := promotion.Default().Over(own)
	fmt.Println(rules.MinGain, rules.MinTraining, rules.Check(), err)
	// Output: 0.05 3 <nil> <nil>
}
