package api

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/nissa/internal/alert"
	"github.com/esper-lite/weatherlight/nissa/internal/alertapi"
	"github.com/esper-lite/weatherlight/nissa/internal/letterapi"
	"github.com/esper-lite/weatherlight/nissa/internal/route"
	"github.com/esper-lite/weatherlight/nissa/internal/runs"
)

var update = flag.Bool("update", false, "write openapi.json")

type object = map[string]any

// TestDocumentIsThatOfTheRoutes: the document is made of the table of routes and of the
// types that they answer with.
func TestDocumentIsThatOfTheRoutes(t *testing.T) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetIndent("", "\t")
	if err := encoder.Encode(documentOf(allRoutes())); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("openapi.json", text.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(text.Bytes(), document) {
		t.Error("openapi.json is not that of the routes: go test ./nissa/internal/api -run ThatOfTheRoutes -update")
	}
}

// allRoutes are those of a Nissa that keeps runs and raises alerts.
func allRoutes() []route.Route {
	return slices.Concat([]route.Route{Document()}, Routes(Config{}), letterapi.Routes(letterapi.Config{}), alertapi.Routes(nil))
}

func documentOf(routes []route.Route) object {
	schemas, paths := object{}, object{}
	for _, r := range routes {
		if paths[r.Path] == nil {
			paths[r.Path] = object{}
		}
		paths[r.Path].(object)[strings.ToLower(r.Method)] = operationOf(r, schemas)
	}
	return object{
		"openapi": "3.1.0",
		"info":    object{"title": "Nissa", "version": "1", "description": "Training runs as the bus told of them. Figures that were not measured are null."},
		"paths":   paths, "components": object{"schemas": schemas, "securitySchemes": object{"token": object{"type": "http", "scheme": "bearer"}}},
	}
}

func operationOf(r route.Route, schemas object) object {
	answer := func(about string, content object) object { return object{"description": about, "content": content} }
	inJSON := func(of any) object {
		return object{"application/json": object{"schema": schemaOf(reflect.TypeOf(of), schemas)}}
	}
	responses := object{"401": answer("The bearer token is missing: what changes something needs it, and all that comes from another machine.", inJSON(problem{}))}
	for status, why := range r.Refusals {
		responses[fmt.Sprint(status)] = answer(why, inJSON(problem{}))
	}
	switch {
	case r.Answer != nil:
		responses[fmt.Sprint(r.Status)] = answer("It.", inJSON(r.Answer))
	case r.Media != "":
		responses[fmt.Sprint(r.Status)] = answer("It.", object{r.Media: object{"schema": object{"type": "string"}}})
	default:
		responses[fmt.Sprint(r.Status)] = object{"description": "It is done."}
	}
	operation := object{"summary": r.Summary, "parameters": parametersOf(r), "responses": responses, "security": []object{{"token": []string{}}}}
	if r.Method == http.MethodGet {
		operation["security"] = []object{{}, {"token": []string{}}} // none where only this machine asks
	}
	if r.Body != nil {
		operation["requestBody"] = object{"required": true, "content": inJSON(r.Body)}
	}
	return operation
}

func parametersOf(r route.Route) []object {
	all := []object{}
	for part := range strings.SplitSeq(r.Path, "/") {
		if name, is := strings.CutPrefix(part, "{"); is {
			all = append(all, object{"name": strings.TrimSuffix(name, "}"), "in": "path", "required": true, "schema": object{"type": "string"}})
		}
	}
	for _, p := range r.Parameters {
		schema := object{"type": p.Kind}
		switch p.Kind {
		case "date-time":
			schema = object{"type": "string", "format": p.Kind}
		case "kind":
			schema = schemaOf(reflect.TypeFor[runs.Kind](), nil)
		}
		all = append(all, object{"name": p.Name, "in": "query", "description": p.About, "schema": schema})
	}
	return all
}

// schemaOf describes a type as its JSON is.
func schemaOf(of reflect.Type, schemas object) object {
	switch {
	case of == reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case of == reflect.TypeFor[runs.Number]():
		return object{"type": []string{"number", "null"}}
	case of == reflect.TypeFor[alert.Number]():
		return object{"type": []string{"number", "string"}}
	case of == reflect.TypeFor[json.RawMessage]():
		return object{"type": "object", "additionalProperties": object{}}
	case of == reflect.TypeFor[[]byte]():
		return object{"type": "string", "contentEncoding": "base64"}
	case of == reflect.TypeFor[runs.Kind]():
		return object{"type": "string", "enum": runs.Kinds()}
	case of.Kind() == reflect.Pointer:
		return object{"anyOf": []object{schemaOf(of.Elem(), schemas), {"type": "null"}}}
	case of.Kind() == reflect.Slice:
		return object{"type": "array", "items": schemaOf(of.Elem(), schemas)}
	case of.Kind() == reflect.Map:
		return object{"type": "object", "additionalProperties": schemaOf(of.Elem(), schemas)}
	case of.Kind() == reflect.String:
		return object{"type": "string"}
	case of.Kind() == reflect.Bool:
		return object{"type": "boolean"}
	case of.Kind() == reflect.Float64:
		return object{"type": "number"}
	case of.Kind() == reflect.Struct:
		return structOf(of, schemas)
	default:
		return object{"type": "integer"}
	}
}

func structOf(of reflect.Type, schemas object) object {
	name := strings.ToUpper(of.Name()[:1]) + of.Name()[1:]
	reference := object{"$ref": "#/components/schemas/" + name}
	if _, known := schemas[name]; known {
		return reference
	}
	properties, required := object{}, []string{}
	schemas[name] = object{"type": "object", "additionalProperties": false, "properties": properties}
	for _, field := range reflect.VisibleFields(of) {
		tag, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if tag == "-" || tag == "" || !field.IsExported() {
			continue
		}
		properties[tag] = schemaOf(field.Type, schemas)
		if !strings.HasPrefix(options, "omit") {
			required = append(required, tag)
		}
	}
	slices.Sort(required)
	schemas[name].(object)["required"] = required
	return reference
}

// check compares a value with a schema of the document, as it is served.
func check(schemas object, schema object, value any, where string) (faults []string) {
	fault := func(format string, args ...any) { faults = append(faults, where+": "+fmt.Sprintf(format, args...)) }
	if reference, is := schema["$ref"].(string); is {
		return check(schemas, schemas[reference[strings.LastIndex(reference, "/")+1:]].(object), value, where)
	}
	if options, is := schema["anyOf"].([]any); is {
		for _, one := range options {
			if len(check(schemas, one.(object), value, where)) == 0 {
				return nil
			}
		}
		fault("%v is none of %v", value, options)
		return faults
	}
	kinds, several := schema["type"].([]any)
	if !several {
		kinds = []any{schema["type"]}
	}
	kind := kindOf(value)
	if kind == "integer" && !slices.Contains(kinds, any(kind)) {
		kind = "number" // one that happens to be whole
	}
	if !slices.Contains(kinds, any(kind)) {
		fault("%v is no %v", value, kinds)
		return faults
	}
	switch v := value.(type) {
	case []any:
		for i, item := range v {
			faults = append(faults, check(schemas, schema["items"].(object), item, fmt.Sprint(where, "/", i))...)
		}
	case object:
		faults = append(faults, checkObject(schemas, schema, v, where)...)
	case string:
		if allowed, is := schema["enum"].([]any); is && !slices.Contains(allowed, any(v)) {
			fault("%q is none of %v", v, allowed)
		}
		if _, err := time.Parse(time.RFC3339Nano, v); schema["format"] == "date-time" && err != nil {
			fault("%v", err)
		}
	}
	return faults
}

func checkObject(schemas, schema, value object, where string) (faults []string) {
	properties, _ := schema["properties"].(object)
	required, _ := schema["required"].([]any)
	for _, name := range required {
		if _, there := value[name.(string)]; !there {
			faults = append(faults, where+" has no "+name.(string))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(value)) {
		of, known := properties[name].(object)
		if !known {
			of, known = schema["additionalProperties"].(object)
		}
		if !known {
			faults = append(faults, where+" has "+name+", of which the document says nothing")
			continue
		}
		faults = append(faults, check(schemas, of, value[name], where+"/"+name)...)
	}
	return faults
}

func kindOf(value any) string {
	switch v := value.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case float64:
		if v == float64(int64(v)) {
			return "integer"
		}
		return "number"
	case []any:
		return "array"
	default:
		return "object"
	}
}

func TestCheckSeesWhatIsWrong(t *testing.T) {
	schemas := object{"T": object{"type": "object", "additionalProperties": false, "required": []any{"a"},
		"properties": object{"a": object{"type": "string"}, "n": object{"type": []any{"number", "null"}},
			"k": object{"type": "string", "enum": []any{"one"}}}}}
	for text, want := range map[string]int{`{"a":"x","n":1.5}`: 0, `{"a":"x","n":null}`: 0, `{"n":2}`: 1, `{"a":1}`: 1, `{"a":"x","b":1}`: 1, `[]`: 1,
		`{"a":"x","k":"one"}`: 0, `{"a":"x","k":"two"}`: 1} {
		var value any
		if err := json.Unmarshal([]byte(text), &value); err != nil {
			t.Fatal(err)
		}
		if faults := check(schemas, object{"$ref": "#/T"}, value, ""); len(faults) != want {
			t.Errorf("%s: %v", text, faults)
		}
	}
}
