package process

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Printable escapes what a terminal would not show but obey: text from the bus was
// written by whoever reached it, a name in the kernel library by whoever saved it.
func Printable(text string) string {
	var shown strings.Builder
	for len(text) > 0 {
		character, size := utf8.DecodeRuneInString(text)
		broken := character == utf8.RuneError && size == 1
		if piece := text[:size]; broken || !unicode.IsPrint(character) {
			quoted := strconv.Quote(piece)
			shown.WriteString(quoted[1 : len(quoted)-1])
		} else {
			shown.WriteString(piece)
		}
		text = text[size:]
	}
	return shown.String()
}
