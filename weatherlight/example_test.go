package weatherlight_test

import (
	"fmt"

	"github.com/esper-lite/weatherlight/weatherlight"
)

// ExampleOutline shows in which order a service boots.
func ExampleOutline() {
	for _, step := range weatherlight.Outline() {
		fmt.Println(step.Name)
	}
	// Output:
	// data folder and HTTP listener
	// oona connection
	// streams and groups
	// urza catalogue
	// urza prefetch worker
	// kasmina coordinator
	// tamiyo and command consumer
	// tezzeret forge
	// loops
	// ready
}
