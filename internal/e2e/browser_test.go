package e2e

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/proctest"
)

// browser is a page of a Nissa in Chromium, of which a script tells what is on it.
type browser struct {
	*process

	asks  io.Writer
	asked int
}

// sight is something that a page shows, or with Gone does not show any more: an element with all of the texts.
type sight struct {
	At       string   `json:"at"`
	Selector string   `json:"selector"`
	Texts    []string `json:"texts,omitempty"`
	Gone     bool     `json:"gone,omitempty"`
}

// browse opens the page of the Nissa at an address.
func browse(t *testing.T, addr string) *browser {
	t.Helper()
	page, err := filepath.Abs(filepath.Join("..", "..", "nissa", "internal", "page"))
	if err != nil {
		t.Fatal(err)
	}
	for _, needed := range []string{filepath.Join(page, "node_modules", "playwright-core"), "/usr/bin/chromium"} {
		if _, err := os.Stat(needed); err != nil {
			t.Fatalf("%v: make e2e installs it", err)
		}
	}
	folder := t.TempDir()
	cmd := exec.Command("node", filepath.Join(page, "browser", "watch.mjs"), "http://"+addr)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + folder, "TMPDIR=" + folder}
	asks, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{process: of(t, proctest.Start(t, cmd, "browser")), asks: asks}
	t.Cleanup(func() { _ = asks.Close() })
	b.answer("the page is open")
	return b
}

// sees waits until the page shows all of that.
func (b *browser) sees(sights ...sight) {
	b.t.Helper()
	for _, s := range sights {
		line, err := json.Marshal(s)
		if err == nil {
			_, err = b.asks.Write(append(line, '\n'))
		}
		if err != nil {
			b.t.Fatalf("ask the browser: %v", err)
		}
		b.answer(string(line))
	}
}

// answer is the next line of the script.
func (b *browser) answer(what string) {
	b.t.Helper()
	b.asked++
	var lines []string
	eventually(b.t, "the browser answers: "+what, 2*time.Minute, func() bool {
		if !b.running() {
			b.t.Fatalf("the browser ended with exit code %d: %s", b.Code(), tail(b.stderr.String()))
		}
		lines = strings.SplitAfter(b.stdout.String(), "\n")
		return len(lines) > b.asked
	})
	var answer struct{ Fault string }
	if err := json.Unmarshal([]byte(lines[b.asked-1]), &answer); err != nil || answer.Fault != "" {
		b.t.Fatalf("the page does not show %s: %v %s", what, err, answer.Fault)
	}
}

// mustHaveSeenNothingRed closes the page: an error in its console, or a request to anybody else, is a failure.
func (b *browser) mustHaveSeenNothingRed() {
	b.t.Helper()
	if err := b.asks.(io.Closer).Close(); err != nil {
		b.t.Error(err)
	}
	if code, _ := b.exit(patience); code != 0 {
		b.t.Errorf("the page was red: %s", b.stderr.String())
	}
}
