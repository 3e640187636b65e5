package settings

import (
	"math"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestEveryFieldIsDocumented holds each leaf of Settings to its tags.
func TestEveryFieldIsDocumented(t *testing.T) {
	name := regexp.MustCompile(`^[A-Z][A-Z0-9_]+$`)
	seen := map[string]bool{}
	for _, v := range variablesOf(&Settings{}) {
		if !name.MatchString(v.env) || seen[v.env] {
			t.Errorf("%q is no variable name, or is used twice", v.env)
		}
		seen[v.env] = true
		if !strings.HasSuffix(v.doc, ".") {
			t.Errorf("%s: doc %q is not a sentence", v.env, v.doc)
		}
		for _, bound := range []string{v.minimum, v.maximum} {
			if bound != "" && math.IsNaN(v.bound(bound)) {
				t.Errorf("%s: bound %q does not parse", v.env, bound)
			}
		}
		if _, timed := reflect.TypeAssert[time.Duration](v.value); timed != (v.unit != "") {
			t.Errorf("%s: durations and only durations have a unit", v.env)
		}
		if v.value.Type() == reflect.TypeFor[int]() && v.minimum == "" {
			t.Errorf("%s: a number has a least accepted value", v.env)
		}
	}
	if leaves := countLeaves(reflect.TypeFor[Settings]()); leaves != len(seen) {
		t.Errorf("%d leaf fields but %d variables: a field has no env tag", leaves, len(seen))
	}
}

// TestEveryFieldHasADefaultTag finds fields whose default is only implied.
func TestEveryFieldHasADefaultTag(t *testing.T) {
	for group := range reflect.TypeFor[Settings]().Fields() {
		if !group.IsExported() || group.Tag.Get("env") != "" {
			continue
		}
		wantDefaults(t, group)
	}
}

func wantDefaults(t *testing.T, group reflect.StructField) {
	for field := range group.Type.Fields() {
		_, found := field.Tag.Lookup("envDefault")
		switch {
		case found:
		case field.Type.Kind() == reflect.Struct && field.Tag == "":
			wantDefaults(t, field)
		default:
			t.Errorf("%s.%s has no envDefault", group.Name, field.Name)
		}
	}
}

func countLeaves(group reflect.Type) int {
	leaves := 0
	for field := range group.Fields() {
		switch {
		case !field.IsExported():
		case field.Type.Kind() == reflect.Struct && field.Type != reflect.TypeFor[Secret]() && field.Type != reflect.TypeFor[URL]():
			leaves += countLeaves(field.Type)
		default:
			leaves++
		}
	}
	return leaves
}

func TestMarkdownHasARowForEachVariable(t *testing.T) {
	table := Markdown()
	if rows := strings.Count(table, "\n") - 2; rows != len(variablesOf(&Settings{})) {
		t.Errorf("%d rows for %d variables", rows, len(variablesOf(&Settings{})))
	}
	if !strings.Contains(table, "| `OONA_MESSAGE_TTL_MS` | `900000` | ms |") {
		t.Errorf("unexpected table:\n%s", table)
	}
}

func FuzzLoad(f *testing.F) {
	example, err := os.ReadFile("../.env.example")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(example), "REDIS_URL", "redis://u:p@h:1/0?a=b")
	f.Add("A='x\ny'\nESPER_LEYLINE_SECRET=\"q", "OONA_MESSAGE_TTL_MS", "-1.5")
	f.Add("export X: ${Y}\r\n#", "WEATHERLIGHT_HTTP_ADDR", "[::1]:0")
	f.Fuzz(func(t *testing.T, file, name, value string) {
		values, err := parseEnvFile(file)
		if err == nil && strings.Count(file, "\n") > 0 && values == nil {
			t.Error("no values and no error")
		}
		s := &Settings{}
		variables := variablesOf(s)
		resolve(variables, map[string]string{name: value}, values)
		faults := &Faults{}
		for _, v := range variables {
			v.parse(faults)
		}
		s.validate(faults, true)
		for _, fault := range faults.List {
			if strings.Contains(fault.Error(), "\n") {
				t.Errorf("fault %q takes more than one line", fault.Error())
			}
		}
		for _, v := range variables {
			if number := v.value; number.CanInt() && !faults.has(v.env) && v.minimum != "" && quantity(number) < v.bound(v.minimum) {
				t.Errorf("%s=%q is below its least value", v.env, v.text)
			}
		}
	})
}
