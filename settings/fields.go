package settings

import (
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"strings"
)

// Source says where a value came from.
type Source string

// The sources, from the weakest to the strongest.
const (
	SourceDefault     Source = "default"
	SourceFile        Source = "file"
	SourceEnvironment Source = "environment"
)

// Field is one resolved setting, fit to be printed: secrets are masked.
type Field struct {
	Env     string // the variable
	Value   string // its resolved text
	Default string // its default, or in words how it is found
	Unit    string // the unit of a bare number: ms, s, h or none
	Doc     string // what it means
	Source  Source // where the value came from
}

// Fields lists the resolved settings in the order of [Settings].
func (s *Settings) Fields() []Field { return append([]Field(nil), s.read.fields...) }

// LogValue logs the settings that were given, under their environment names: the others have
// their defaults.
func (s *Settings) LogValue() slog.Value {
	var attrs []slog.Attr
	for _, f := range s.read.fields {
		if f.Source != SourceDefault {
			attrs = append(attrs, slog.String(f.Env, f.Value))
		}
	}
	return slog.GroupValue(attrs...)
}

// Markdown returns the table of all variables for the operator's documents.
func Markdown() string {
	var table strings.Builder
	table.WriteString("| variable | default | unit | what |\n| --- | --- | --- | --- |\n")
	for _, v := range variablesOf(&Settings{}) {
		def := v.shownDefault
		if def == v.envDefault && def != "" {
			def = "`" + def + "`"
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s |\n", v.env, def, v.unit, strings.ReplaceAll(v.doc, "|", `\|`))
	}
	return table.String()
}

func list(variables []*variable) []Field {
	fields := make([]Field, len(variables))
	for i, v := range variables {
		fields[i] = Field{
			Env: v.env, Value: v.printable(), Default: v.shownDefault,
			Unit: v.unit, Doc: v.doc, Source: v.source,
		}
	}
	return fields
}

// publicKey is how minisign writes one.
var publicKey = regexp.MustCompile("^RW[A-Za-z0-9+/]{54}$")

// maskNames masks of a comma list what is neither a public key nor the name of something that
// is there: it may be the secret itself, written where its file is to be named.
func maskNames(text string) string {
	names := trimmed(strings.Split(text, ","))
	for i, name := range names {
		if _, err := os.Lstat(name); err != nil && !publicKey.MatchString(name) {
			names[i] = mask
		}
	}
	return strings.Join(names, ",")
}

// printable is the resolved text with its secrets masked. What parsing may
// have completed (a URL's mask, the name of the instance) is read back.
func (v *variable) printable() string {
	if v.namesFile {
		return maskNames(v.text)
	}
	switch value := v.value.Interface().(type) {
	case Secret:
		if value.Reveal() == "" {
			return ""
		}
		return value.String()
	case URL:
		return value.String()
	case string:
		return value
	default:
		return v.text
	}
}
