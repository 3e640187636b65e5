package urza

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// saveForever is the child of TestKilledSaverLosesNothing: it saves one blueprint
// after the other and prints each that Save acknowledged.
func saveForever(t *testing.T, dir string) {
	library := openTest(t, testConfig(dir))
	for i := 0; ; i++ {
		id := fmt.Sprintf("BP%03d", i%5)
		saved := save(t, library, id, strings.Repeat(fmt.Sprint(id, os.Getpid(), i), 2000))
		fmt.Println("saved", id, saved.GetChecksum())
	}
}

func TestKilledSaverLosesNothing(t *testing.T) {
	if dir := os.Getenv("URZA_TEST_SAVE_FOREVER"); dir != "" {
		saveForever(t, dir)
	}
	dir := t.TempDir()
	acknowledged := map[string]string{}
	for round := range 10 {
		killWhileSaving(t, dir, 3+round*5, acknowledged)
		library := openTest(t, testConfig(dir))
		records, err := library.List(context.Background())
		if err != nil || len(records) < len(acknowledged) {
			t.Fatalf("%d rows after %d acknowledged, %v", len(records), len(acknowledged), err)
		}
		for _, record := range records {
			wantReady(t, ask(t, NewPrefetcher(library), record.Descriptor.GetBlueprintId()), record.Checksum)
		}
	}
}

// killWhileSaving kills the child once it has acknowledged so many saves.
func killWhileSaving(t *testing.T, dir string, saves int, acknowledged map[string]string) {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^TestKilledSaverLosesNothing$")
	child.Env = append(os.Environ(), "URZA_TEST_SAVE_FOREVER="+dir)
	output, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(output)
	for seen := 0; lines.Scan(); {
		var id, sum string
		if n, _ := fmt.Sscanf(lines.Text(), "saved %s %s", &id, &sum); n != 2 {
			t.Errorf("child: %s", lines.Text())
			continue
		}
		acknowledged[id] = sum
		if seen++; seen == saves {
			_ = child.Process.Kill() // in the middle of the next save
		}
	}
	if err := child.Wait(); err == nil || child.ProcessState.ExitCode() != -1 {
		t.Fatalf("child was not killed: %v", err)
	}
}
