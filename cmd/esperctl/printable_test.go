package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestDeadLetterDoesNotDriveTheTerminal(t *testing.T) {
	const hostile = "\x1b]0;owned\x07\x1b[2J\u009b31m\u202e\xff\v"
	entry := letterEntry{
		Stream: "s" + hostile, Group: "g" + hostile, Reason: "r" + hostile, Error: "e" + hostile + "\nsecond" + hostile,
		Replayed: "1-1" + hostile,
	}
	var out bytes.Buffer
	if err := printLetters(&out, []letterEntry{entry}); err != nil {
		t.Fatal(err)
	}
	if err := printLetter(&out, letterDetails{letterEntry: entry, Unreadable: "u" + hostile}); err != nil {
		t.Fatal(err)
	}
	if text := out.String(); strings.ContainsAny(text, "\x1b\x07\v\u009b\u202e") || strings.Contains(text, "\xff") {
		t.Errorf("what a terminal obeys is printed: %q", text)
	}
	if text := printable("größe \x1b[2J \\ \"q\" 日本"); text != `größe \x1b[2J \ "q" 日本` {
		t.Errorf("printable: %s", text)
	}
}
