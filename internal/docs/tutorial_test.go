//go:build docs

package docs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/freeport"
)

// tutorialTime is what all of the tutorial may take; a command that waits for what never comes ends with it.
const tutorialTime = 10 * time.Minute

var shell = regexp.MustCompile("(?ms)^```sh\n(.*?)^```$")

// commands are those of a page's blocks of shell, one a line, with the lines that a document in place has.
func commands(text string) (all []string) {
	for _, block := range shell.FindAllStringSubmatch(text, -1) {
		var until string
		for line := range strings.Lines(block[1]) {
			switch {
			case until != "":
				all[len(all)-1] += line
				if strings.TrimSpace(line) == until {
					until = ""
				}
			case strings.TrimSpace(line) != "":
				all = append(all, line)
				_, until, _ = strings.Cut(strings.TrimSpace(line), "<<")
			}
		}
	}
	return all
}

// script runs the commands in one shell, as somebody who types them does, notes which came well, and ends at the first
// that does not.
func script(commands []string, notes string) string {
	var text strings.Builder
	for i, command := range commands {
		fmt.Fprintf(&text, "printf '\\n$ %%s\\n' %s\n%scode=$?\n", quote(strings.TrimSpace(command)), command)
		fmt.Fprintf(&text, "if [ $code -ne 0 ]; then exit $code; fi\necho %d >>%s\n", i, quote(notes))
	}
	return text.String()
}

func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// elsewhere gives the tutorial ports that nobody else has.
func elsewhere(t testing.TB, text string) string {
	t.Helper()
	for _, port := range []string{"6379", "9180", "9100"} {
		_, free, _ := strings.Cut(freeport.Must(t), ":")
		text = regexp.MustCompile(`\b`+port+`\b`).ReplaceAllString(text, free)
	}
	return text
}

func TestTutorialRuns(t *testing.T) {
	text, err := os.ReadFile(root + "/docs/tutorial.md")
	if err != nil {
		t.Fatal(err)
	}
	home, all := t.TempDir(), commands(elsewhere(t, string(text)))
	notes := filepath.Join(home, "notes")
	typed := exec.Command("bash", "-c", script(all, notes))
	typed.Dir, typed.Stdout, typed.Stderr = root, os.Stdout, os.Stderr
	typed.Env = append(os.Environ(), "HOME="+home)
	for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOPATH", "GOENV"} { // which lie below the home else
		value, err := exec.Command("go", "env", name).Output()
		if err != nil {
			t.Fatal(err)
		}
		typed.Env = append(typed.Env, name+"="+strings.TrimSpace(string(value)))
	}
	// What it starts is of its group, but Redis, which goes off on its own.
	typed.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := typed.Start(); err != nil {
		t.Fatal(err)
	}
	group := -typed.Process.Pid
	late := time.AfterFunc(tutorialTime, func() { _ = syscall.Kill(group, syscall.SIGKILL) })
	err = typed.Wait()
	late.Stop()
	_ = syscall.Kill(group, syscall.SIGKILL) // nothing is left when all went well
	endRedis(home)
	done, _ := os.ReadFile(notes) // none was made when the first command failed
	score.commands, score.failed = len(all), len(all)-strings.Count(string(done), "\n")
	if err != nil || score.failed > 0 || score.commands < 20 {
		t.Errorf("of %d commands %d came to nothing: %v", score.commands, score.failed, err)
	}
}

// endRedis ends the server of a tutorial that did not come to its end.
func endRedis(home string) {
	text, err := os.ReadFile(filepath.Join(home, "esper", "redis.pid"))
	if err != nil {
		return // it has ended, and taken its file along
	}
	if id, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
		_ = syscall.Kill(id, syscall.SIGKILL)
	}
}
