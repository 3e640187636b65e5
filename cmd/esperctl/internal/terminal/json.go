package terminal

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf16"
)

// JSON prints what --json asks for, with the escapes of JSON for what a terminal obeys.
func JSON(out io.Writer, value any) error {
	text, err := json.MarshalIndent(value, "", "  ")
	if err == nil {
		_, err = fmt.Fprintln(out, EscapeJSON(string(text)))
	}
	if err != nil {
		return fmt.Errorf("print JSON: %w", err)
	}
	return nil
}

// EscapeJSON has JSON escape what a terminal obeys.
func EscapeJSON(text string) string {
	var escaped strings.Builder
	for _, letter := range text {
		if letter == '\n' || unicode.IsPrint(letter) {
			escaped.WriteRune(letter)
			continue
		}
		for _, unit := range utf16.Encode([]rune{letter}) {
			fmt.Fprintf(&escaped, `\u%04x`, unit)
		}
	}
	return escaped.String()
}
