package metadata

import (
	"math"
	"strings"
)

// Finite replaces the bare tokens NaN, Infinity and -Infinity, which Python's
// json writes and no other reader accepts, by null. Text without them comes back
// as it is; strings are never touched.
func Finite(text string) []byte {
	if !strings.Contains(text, "NaN") && !strings.Contains(text, "Infinity") {
		return []byte(text)
	}
	out := make([]byte, 0, len(text))
	inString := false
	for i := 0; i < len(text); i++ {
		if token := nonFiniteToken(text[i:]); !inString && token != "" {
			out = append(out, "null"...)
			i += len(token) - 1
			continue
		}
		out = append(out, text[i])
		switch {
		case text[i] == '"':
			inString = !inString
		case inString && text[i] == '\\' && i+1 < len(text):
			i++
			out = append(out, text[i])
		}
	}
	return out
}

func nonFiniteToken(text string) string {
	for _, token := range [...]string{"NaN", "Infinity", "-Infinity"} {
		if strings.HasPrefix(text, token) {
			return token
		}
	}
	return ""
}

// finite copies a JSON-like value with every NaN and infinity replaced by nil.
// Values of other types are passed on as they are.
func finite(value any) any {
	switch v := value.(type) {
	case float64:
		return finiteFloat(v)
	case float32:
		return finiteFloat(float64(v))
	case []float64:
		return finiteSlice(v)
	case []float32:
		return finiteSlice(v)
	case []any:
		return finiteSlice(v)
	case []map[string]any:
		return finiteSlice(v)
	case map[string]float64:
		return finiteMap(v)
	case map[string]any:
		return finiteMap(v)
	}
	return value
}

func finiteFloat(v float64) any {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return v
}

func finiteSlice[T any](values []T) any {
	if values == nil {
		return nil
	}
	out := make([]any, len(values))
	for i, v := range values {
		out[i] = finite(v)
	}
	return out
}

func finiteMap[T any](values map[string]T) any {
	if values == nil {
		return nil
	}
	out := make(map[string]any, len(values))
	for k, v := range values {
		out[k] = finite(v)
	}
	return out
}
