package settings

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// variable is one field of Settings with what its tags say.
type variable struct {
	env, envDefault, shownDefault, doc string
	unit, minimum, maximum             string
	form, schemes                      string
	emptyIsOff                         bool
	namesFile                          bool // in which keys or secrets lie

	value  reflect.Value
	text   string
	source Source
}

// variablesOf returns the variables of s in the order of its fields.
func variablesOf(s *Settings) []*variable {
	var found []*variable
	collect(reflect.ValueOf(s).Elem(), &found)
	return found
}

func collect(group reflect.Value, found *[]*variable) {
	for i := range group.NumField() {
		field := group.Type().Field(i)
		if field.Tag.Get("env") != "" {
			*found = append(*found, newVariable(field, group.Field(i)))
		} else if field.IsExported() {
			collect(group.Field(i), found)
		}
	}
}

func newVariable(field reflect.StructField, value reflect.Value) *variable {
	tag := field.Tag
	v := &variable{
		env: tag.Get("env"), envDefault: tag.Get("envDefault"), doc: tag.Get("doc"),
		unit: tag.Get("unit"), minimum: tag.Get("min"), maximum: tag.Get("max"),
		form: tag.Get("form"), schemes: tag.Get("schemes"),
		emptyIsOff: tag.Get("empty") == off, namesFile: tag.Get("names") == "file", value: value,
	}
	v.shownDefault = v.envDefault
	if shown := tag.Get("default"); shown != "" {
		v.shownDefault = shown
	}
	return v
}

func (v *variable) isSecret() bool { return v.value.Type() == reflect.TypeFor[Secret]() }

// check holds the parsed value against the tags.
func (v *variable) check() error {
	switch value := v.value.Interface().(type) {
	case URL:
		if v.text == "" { // its default: none
			return nil
		}
		return checkScheme(value, v.schemes)
	case string:
		return checkForm(value, v.form)
	case []string:
		return checkWords(value, v.form)
	case time.Duration, int, float64:
		return v.checkRange()
	default:
		return nil
	}
}

func (v *variable) checkRange() error {
	number := quantity(v.value)
	if math.IsNaN(number) || math.IsInf(number, 0) {
		return fmt.Errorf("%q is not a finite number", v.text)
	}
	if v.minimum != "" && number < v.bound(v.minimum) {
		return fmt.Errorf("%q is below the least accepted value, %s", v.text, v.minimum)
	}
	if v.maximum != "" && number > v.bound(v.maximum) {
		return fmt.Errorf("%q is above the greatest accepted value, %s", v.text, v.maximum)
	}
	return nil
}

// bound reads a bound of the tags in the unit of the field. A tag that does
// not parse is NaN, which a test looks for.
func (v *variable) bound(text string) float64 {
	if v.unit != "" {
		limit, err := time.ParseDuration(text)
		if err != nil {
			return math.NaN()
		}
		return float64(limit)
	}
	limit, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return math.NaN()
	}
	return limit
}

func quantity(value reflect.Value) float64 {
	if value.CanInt() {
		return float64(value.Int())
	}
	return value.Float()
}

func checkScheme(u URL, accepted string) error {
	if slices.Contains(strings.Fields(accepted), u.scheme()) {
		return nil
	}
	return errScheme(accepted)
}

// errScheme does not repeat the URL: what did not parse cannot be masked.
func errScheme(accepted string) error {
	return fmt.Errorf("must be a whole URL with the scheme %s", strings.Join(strings.Fields(accepted), " or "))
}

// maxName is far above any stream or signal name in use.
const maxName = 200

func checkForm(text, form string) error {
	if form == "" {
		return nil
	}
	if words, known := choices[form]; known {
		return checkChoice(text, words)
	}
	if len(text) > maxName || strings.ContainsFunc(text, notInNames) {
		return fmt.Errorf("%q must be one word of at most %d letters, without control characters", text, maxName)
	}
	if form == "signal" && strings.Contains(strings.TrimPrefix(text, "/"), "/") {
		return fmt.Errorf("%q must not hold a slash after the first letter", text)
	}
	return nil
}

// checkWords holds each word of a list against the form.
func checkWords(words []string, form string) error {
	if form != "blueprints" {
		return nil
	}
	for _, word := range words {
		if len(word) > maxName || strings.ContainsFunc(word, notInNames) {
			return fmt.Errorf("%q is no blueprint id", word)
		}
	}
	return nil
}

// The formats of URZA_FORMAT.
const (
	FormatONNX = "onnx"
	FormatPT   = "pt"
)

// choices are the words that a form accepts.
var choices = map[string][]string{
	"trust":  {TrustCompatible, TrustStrict},
	"format": {"", FormatONNX, FormatPT},
	"ramp":   {"sigmoid", "linear", "cosine"},
}

func checkChoice(text string, words []string) error {
	if slices.Contains(words, text) {
		return nil
	}
	named := slices.DeleteFunc(slices.Clone(words), func(word string) bool { return word == "" })
	return fmt.Errorf("%q must be %s", text, strings.Join(named, " or "))
}

func notInNames(r rune) bool {
	return unicode.IsSpace(r) || unicode.IsControl(r) || r == unicode.ReplacementChar
}
