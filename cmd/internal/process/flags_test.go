package process

import (
	"errors"
	"flag"
	"strings"
	"testing"
)

func TestParseFlags(t *testing.T) {
	for _, row := range []struct {
		args []string
		set  bool
		code int
	}{
		{nil, false, ExitClean},
		{[]string{"--tell"}, true, ExitClean},
		{[]string{"-tell"}, true, ExitClean},
		{[]string{"--tel"}, false, ExitConfiguration},
		{[]string{"now"}, false, ExitConfiguration},
		{[]string{"--tell", "now"}, true, ExitConfiguration},
	} {
		flags := flag.NewFlagSet("teller", flag.ContinueOnError)
		set := flags.Bool("tell", false, "tell it")
		var out strings.Builder
		err := ParseFlags(flags, "[--tell]", row.args, &out)
		if *set != row.set || ExitCode(err) != row.code || out.Len() != 0 {
			t.Errorf("%v: %v, %v, says %q", row.args, *set, err, &out)
		}
	}
}

func TestHelpShowsUsageAndFlags(t *testing.T) {
	flags := flag.NewFlagSet("teller", flag.ContinueOnError)
	flags.Bool("tell", false, "tell it")
	var out strings.Builder
	if err := ParseFlags(flags, "[--tell]", []string{"--help"}, &out); !errors.Is(err, flag.ErrHelp) {
		t.Error(err)
	}
	if text := out.String(); !strings.HasPrefix(text, "Usage: teller [--tell]\n") || !strings.Contains(text, "tell it") {
		t.Errorf("says %q", text)
	}
}

func TestHelpFitsATerminal(t *testing.T) {
	flags := flag.NewFlagSet("teller", flag.ContinueOnError)
	usage := strings.Repeat("tell what there is to tell ", 9)
	flags.Bool("tell", false, usage)
	var out strings.Builder
	if err := ParseFlags(flags, "[--tell]", []string{"--help"}, &out); !errors.Is(err, flag.ErrHelp) {
		t.Error(err)
	}
	if text := strings.Join(strings.Fields(out.String()), " "); !strings.Contains(text, strings.TrimSpace(usage)) {
		t.Errorf("says %q", text)
	}
	for line := range strings.Lines(out.String()) {
		if line = strings.TrimSuffix(line, "\n"); len(line) > 80 {
			t.Errorf("%d columns: %s", len(line), line)
		}
	}
}
