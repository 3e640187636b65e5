package docs

import (
	"fmt"
	"os"
	"testing"
)

// tally counts what was looked at.
type tally struct{ links, broken, commands, failed int }

var score tally

func (s *tally) follow(broken bool) {
	s.links++
	if broken {
		s.broken++
	}
}

func TestMain(m *testing.M) {
	code := m.Run()
	if score.commands > 0 {
		fmt.Printf("RESULT docs links=%d broken=%d commands=%d failed=%d\n", score.links, score.broken, score.commands, score.failed)
	}
	os.Exit(code)
}
