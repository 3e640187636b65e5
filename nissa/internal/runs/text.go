package runs

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxEvents bounds the events of one packet that are kept: as many as a forge tells at once.
const MaxEvents = 256

// Bounds of what one message may make the store keep.
const (
	maxID     = 128 // bytes of the name of a run, a seed, a source
	maxText   = 512 // bytes of any other text
	maxPairs  = 48  // details of one event
	maxNumber = 64  // figures of one report, or of one seed in it
	maxSeeds  = 128 // of one report
	maxPoints = 512 // figures that are kept of a source's last packet

	maxTranscript = 64 << 10 // bytes of a decision
)

// text is s as it may be shown in one line: valid, without control characters, and cut.
func text(s string, most int) string {
	if clean(s) {
		return cut(s, most)
	}
	s = strings.ToValidUTF8(cut(s, 2*most), "\uFFFD")
	return cut(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s), most)
}

func clean(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] >= 0x7f {
			return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
		}
	}
	return true
}

// cut ends a text at most bytes, never within a letter.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}

// name is text for what names something: two long ones that begin alike stay two. A path
// cannot tell of what is named by dots alone, so that it has no name.
func name(s string) string {
	if s == "." || s == ".." {
		return ""
	}
	if len(s) <= maxID {
		return text(s, maxID)
	}
	sum := sha256.Sum256([]byte(s))
	return text(s, maxID-9) + "~" + hex.EncodeToString(sum[:4])
}

// details are the pairs that an event keeps, the first by their names. Signatures are
// nobody's to read.
func details(pairs map[string]string) map[string]string {
	if len(pairs) == 0 {
		return nil
	}
	kept := make(map[string]string, min(len(pairs), maxPairs))
	for _, key := range slices.Sorted(maps.Keys(pairs)) {
		if len(kept) == maxPairs {
			break
		}
		if value := pairs[key]; value != "" && key != "signature" {
			kept[text(key, maxID)] = text(value, maxText)
		}
	}
	return kept
}

// figures are those that are kept of a map, the first by their names.
func figures(told map[string]float32) map[string]Number {
	if len(told) == 0 {
		return nil
	}
	kept := make(map[string]Number, min(len(told), maxNumber))
	for _, key := range slices.Sorted(maps.Keys(told)) {
		if len(kept) == maxNumber {
			break
		}
		kept[text(key, maxID)] = Number(told[key])
	}
	return kept
}
