package main

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/terminal"
	"github.com/esper-lite/weatherlight/cmd/internal/process"
)

// Whoever saves a kernel chooses its name, and whoever passes an id on a command line did
// not have to write it: no command prints a letter of either that a terminal obeys.
func TestNoCommandPrintsWhatATerminalObeys(t *testing.T) {
	const hostile = "\x1b]0;owned\x07\x1b[2J\u009b31m\u202e\v\nBP001\tsound"
	inEmptyLibrary(t)
	id, file := "id"+hostile, "file"+hostile+".pt"
	if err := os.WriteFile(file, []byte("kernel"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range [][]string{
		{"kernels", "import", file, "--blueprint", id, "--name", "n" + hostile},
		{"kernels", "list"}, {"kernels", "list", "--json"}, {"kernels", "show", id}, {"kernels", "show", id, "--json"},
		{"kernels", "verify"}, {"kernels", "verify", id}, {"kernels", "export", id, "out" + hostile}, {"kernels", "approve", id},
		{"kernels", "quarantine", id, "--reason", hostile}, {"kernels", "quarantine", id, "--release"},
		{"kernels", "show", "no" + hostile}, {"kernels", "list", "--tier", hostile}, {"kernels", "import", "no" + hostile, "--blueprint", id},
		{"blueprints", "show", hostile}, {"blueprints", "list", "--tier", hostile}, {"deadletters", "show", hostile}, {hostile},
		{"kernels", "--" + hostile}, {"ready", "--url", "http://127.0.0.1:1/" + hostile},
	} {
		out, err := run(t, command...)
		if err != nil {
			var said bytes.Buffer
			process.Report(&said, name, err)
			out += said.String()
		}
		if out == "" || strings.ContainsAny(out, "\x1b\x07\v\u009b\u202e") || strings.Contains(out, "\nBP001\t") {
			t.Errorf("%q prints %q", command, out)
		}
	}
}

// in is the format that -o asks for.
func in(t *testing.T, output string) *terminal.Format {
	t.Helper()
	format, command := new(terminal.Format), new(cobra.Command)
	format.Bind(command)
	if err := command.Flags().Set("output", output); err != nil {
		t.Fatal(err)
	}
	return format
}

func TestDeadLetterDoesNotDriveTheTerminal(t *testing.T) {
	const hostile = "\x1b]0;owned\x07\x1b[2J\u009b31m\u202e\xff\v"
	entry := letterEntry{
		Stream: "s" + hostile, Group: "g" + hostile, Reason: "r" + hostile, Error: "e" + hostile + "\nsecond" + hostile,
		Replayed: "1-1" + hostile,
	}
	var out bytes.Buffer
	for _, output := range []string{"table", "wide"} {
		format, entries := in(t, output), []letterEntry{entry}
		if err := format.Print(&out, entries, func(table io.Writer) { letterTable(table, entries, format.Wide()) }); err != nil {
			t.Fatal(err)
		}
		details := letterDetails{letterEntry: entry, Unreadable: "u" + hostile}
		if err := format.Print(&out, details, func(table io.Writer) { describeLetter(table, details) }); err != nil {
			t.Fatal(err)
		}
	}
	if text := out.String(); strings.ContainsAny(text, "\x1b\x07\v\u009b\u202e") || strings.Contains(text, "\xff") {
		t.Errorf("what a terminal obeys is printed: %q", text)
	}
	if text := process.Printable("größe \x1b[2J \\ \"q\" 日本"); text != `größe \x1b[2J \ "q" 日本` {
		t.Errorf("printable: %s", text)
	}
}
