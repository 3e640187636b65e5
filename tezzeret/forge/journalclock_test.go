package forge_test

import (
	"bytes"
	"os"
	"regexp"
	"testing"
)

// A clock that ran years ahead when a blueprint was parked does not park it for years.
func TestClockThatWasAheadDoesNotParkForEver(t *testing.T) {
	path, library := journalPath(t), newLibrary()
	first := restarted(t, compilable()[:1], path, library, nil)
	first.compiler.script["BP001"] = always(errPoison)
	if err := first.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	ahead := regexp.MustCompile(`"until":"\d{4}`).ReplaceAll(text, []byte(`"until":"2999`))
	if bytes.Equal(ahead, text) {
		t.Fatalf("nothing is parked: %s", text)
	}
	if err := os.WriteFile(path, ahead, 0o600); err != nil {
		t.Fatal(err)
	}
	second := restarted(t, compilable()[:1], path, library, nil)
	if err := second.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantIDs(t, "compiled", jobIDs(second.Result().Compiled), "BP001")
}
