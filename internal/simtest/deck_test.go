package simtest

import (
	"slices"
	"testing"
)

func deck(t testing.TB) []Step {
	t.Helper()
	steps, err := ReadDeck("../../weatherlight")
	if err != nil {
		t.Fatal(err)
	}
	return steps
}

// TestDeckIsThatOfTheService: a reader that understood nothing would simulate nothing.
func TestDeckIsThatOfTheService(t *testing.T) {
	steps := deck(t)
	var names []string
	streams := make(map[string]string)
	finite := 0
	for _, step := range steps {
		for _, w := range step.Workers {
			names = append(names, w.Name)
			streams[w.Stream] = w.Name
			if w.Finite {
				finite++
			}
		}
	}
	if len(steps) < 10 || len(names) < 15 || finite == 0 {
		t.Fatalf("%d steps, %d finite, workers %v", len(steps), finite, names)
	}
	for _, stream := range []string{"KernelRequests", "KernelReady", "KernelErrors", "Policy", "Normal", "Emergency"} {
		if streams[stream] == "" {
			t.Errorf("ReadDeck does not find who consumes %s in package weatherlight", stream)
		}
	}
	if unique := slices.Compact(slices.Sorted(slices.Values(names))); len(unique) != len(names) {
		t.Errorf("a worker is listed twice: %v", names)
	}
	inOrder := []string{"http", "urza_prefetch", "kasmina_runs", "tezzeret_forwarder", "telemetry", "emergency_stream"}
	for i := range inOrder[1:] {
		if slices.Index(names, inOrder[i]) < 0 || slices.Index(names, inOrder[i]) > slices.Index(names, inOrder[i+1]) {
			t.Errorf("%s does not come before %s: %v", inOrder[i], inOrder[i+1], names)
		}
	}
	t.Logf("steps %v, workers %v", len(steps), names)
}
