package preflight_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/esper-lite/weatherlight/settings"
	"github.com/esper-lite/weatherlight/weatherlight/preflight"
)

// ExampleRun asks whether a service could start, on a broker of its own and in a folder of its own.
func ExampleRun() {
	folder, err := os.MkdirTemp("", "preflight-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(folder)
	resolved, err := settings.Load(settings.Options{EnvFile: os.DevNull, Environ: []string{
		"ESPER_LEYLINE_SECRET=a secret of all of us", "REDIS_URL=embedded:", "WEATHERLIGHT_HTTP_ADDR=127.0.0.1:0",
		"WEATHERLIGHT_DATA_DIR=" + filepath.Join(folder, "weatherlight"),
		"URZA_DATABASE_URL=sqlite:///" + filepath.Join(folder, "urza", "catalog.db"),
		"URZA_ARTIFACT_DIR=" + filepath.Join(folder, "urza", "artifacts"),
		"TAMIYO_POLICY_DIR=" + filepath.Join(folder, "tamiyo", "policies"),
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	checks := preflight.Run(context.Background(), resolved)
	for _, check := range checks {
		if check.Name == "data folder" || check.Name == "http port" {
			fmt.Println(check.Name, check.Result)
		}
	}
	fmt.Println("could start:", preflight.Faults(checks) == nil)
	// Output:
	// data folder ok
	// http port ok
	// could start: true
}
