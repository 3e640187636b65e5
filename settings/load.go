package settings

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"
)

// off turns a listener off. An explicitly empty value is read as off by the
// variables that are tagged so.
const off = "off"

// Options says where the configuration is read from.
type Options struct {
	// Environ holds NAME=value pairs as os.Environ returns them.
	// Default: the environment of the process.
	Environ []string
	// EnvFile is the path of the .env file; it may be missing.
	// Default: .env in the working directory.
	EnvFile string
	// SecretOptional accepts a secret that is missing or cannot be read, for commands that sign nothing.
	SecretOptional bool
}

// Load reads, resolves and validates the configuration. The environment wins
// over the .env file and that over the defaults; a blank value counts as not
// set. The error is a [*Faults] with everything that is wrong.
func Load(opts Options) (*Settings, error) {
	if opts.Environ == nil {
		opts.Environ = os.Environ()
	}
	opts.EnvFile = cmp.Or(opts.EnvFile, ".env")
	faults := &Faults{}
	file, err := readEnvFile(opts.EnvFile)
	if err != nil {
		faults.add(opts.EnvFile, err)
	}
	s := &Settings{}
	variables := variablesOf(s)
	environ := env.ToMap(opts.Environ)
	resolve(variables, environ, file)
	s.read.misspelt = misspelt(variables, environ, file)
	for _, v := range variables {
		v.parse(faults)
	}
	s.validate(faults, opts.SecretOptional)
	s.Weatherlight.Instance = instanceName(s.Weatherlight.Instance)
	s.read.fields = list(variables)
	if len(faults.List) > 0 {
		return nil, faults
	}
	return s, nil
}

// resolve finds the text of every variable and where it came from.
func resolve(variables []*variable, environ, file map[string]string) {
	for _, v := range variables {
		v.text, v.source = v.envDefault, SourceDefault
		if text, found := v.lookup(file); found {
			v.text, v.source = text, SourceFile
		}
		if text, found := v.lookup(environ); found {
			v.text, v.source = text, SourceEnvironment
		}
	}
}

// lookup returns the text that a source gives the variable, if any.
func (v *variable) lookup(source map[string]string) (string, bool) {
	text, set := source[v.env]
	blank := strings.TrimSpace(text) == ""
	if v.emptyIsOff && set && blank {
		return off, true
	}
	if v.isSecret() {
		return text, !blank
	}
	return strings.TrimSpace(text), !blank
}

// parse sets the field from its text and checks it against its tags.
func (v *variable) parse(faults *Faults) {
	if err := v.assign(); err != nil {
		faults.add(v.env, err)
		return
	}
	if err := v.check(); err != nil {
		faults.add(v.env, err)
	}
}

// assign has the env library parse the text into the field, through a struct
// of that one field, so that a failure belongs to a known variable.
func (v *variable) assign() error {
	holder := reflect.New(reflect.StructOf([]reflect.StructField{{
		Name: "Value", Type: v.value.Type(), Tag: reflect.StructTag(fmt.Sprintf(`env:%q`, v.env)),
	}}))
	err := env.ParseWithOptions(holder.Interface(), env.Options{
		Environment: map[string]string{v.env: v.withUnit()},
		FuncMap:     map[reflect.Type]env.ParserFunc{reflect.TypeFor[bool](): parseBool},
	})
	if err != nil {
		return v.reason(err)
	}
	v.value.Set(holder.Elem().Field(0))
	if words, isList := reflect.TypeAssert[[]string](v.value); isList {
		v.value.Set(reflect.ValueOf(trimmed(words)))
	}
	return nil
}

// trimmed drops the blanks around and between the words of a comma list.
func trimmed(words []string) []string {
	var kept []string
	for _, word := range words {
		if word = strings.TrimSpace(word); word != "" {
			kept = append(kept, word)
		}
	}
	return kept
}

// reason says in a user's words why the text does not parse.
func (v *variable) reason(err error) error {
	switch v.value.Interface().(type) {
	case time.Duration:
		return fmt.Errorf("%q is not a duration: write a number of %s, or for example 1h30m, 10s, 250ms", v.text, v.unit)
	case int:
		return fmt.Errorf("%q is not a whole number", v.text)
	case float64:
		return fmt.Errorf("%q is not a number", v.text)
	case URL:
		return errScheme(v.schemes)
	}
	if parse, found := errors.AsType[env.ParseError](err); found {
		return parse.Err
	}
	return err
}

// withUnit appends the unit to a bare number.
func (v *variable) withUnit() string {
	if v.unit == "" || v.text == "" || strings.Trim(v.text, "+-.0123456789") != "" {
		return v.text
	}
	return v.text + v.unit
}

// instanceName makes a word of the configured name or else of the host's.
func instanceName(name string) string {
	if name == "" {
		name, _ = os.Hostname() // a host without a name is "local"
	}
	if words := strings.Fields(name); len(words) > 0 {
		return strings.Join(words, "-")
	}
	return "local"
}
