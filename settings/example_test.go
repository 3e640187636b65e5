package settings_test

import (
	"fmt"

	"github.com/esper-lite/weatherlight/settings"
)

// ExampleLoad reads settings from a list instead of the environment. All faults come at once.
func ExampleLoad() {
	s, err := settings.Load(settings.Options{EnvFile: "/dev/null", SecretOptional: true, Environ: []string{
		"TEZZERET_SLOT=8x16x16", "WEATHERLIGHT_HTTP_ADDR=127.0.0.1:9190",
	}})
	fmt.Println(s.Tezzeret.Slot, s.Weatherlight.HTTP.Addr, err)
	_, err = settings.Load(settings.Options{EnvFile: "/dev/null", SecretOptional: true, Environ: []string{"TEZZERET_SLOT=wide"}})
	fmt.Println(err)
	// Output:
	// [8 16 16] 127.0.0.1:9190 <nil>
	// settings: TEZZERET_SLOT "wide" is no shape: write 32, 12x32 or 8x16x16, each size from 1 to 65536
}
