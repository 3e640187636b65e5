package elastictest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// template is an index template.
type template struct {
	IndexPatterns []string `json:"index_patterns"`
	Priority      int      `json:"priority"`
	Version       int      `json:"version"`
	Template      struct {
		Settings map[string]any `json:"settings"`
		Mappings struct {
			Dynamic    bool             `json:"dynamic"`
			Properties map[string]field `json:"properties"`
		} `json:"mappings"`
	} `json:"template"`
}

// field is one of a mapping.
type field struct {
	Type        string           `json:"type"`
	IgnoreAbove int              `json:"ignore_above"`
	Enabled     *bool            `json:"enabled"`
	Properties  map[string]field `json:"properties"`
}

// putTemplate is PUT /_index_template/<name>. What it does not know is refused.
func (s *Server) putTemplate(w http.ResponseWriter, name, contentType string, body []byte) {
	if base, _, _ := strings.Cut(contentType, ";"); base != "application/json" {
		s.complain(w, http.StatusNotAcceptable, "media_type_header_exception", "Content-Type header ["+contentType+"] is not supported")
		return
	}
	var put template
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(&put)
	switch {
	case err != nil:
	case name == "" || name != strings.ToLower(name) || strings.ContainsAny(name, " ,#*"):
		err = fmt.Errorf("name [%s] must be lower case and without spaces", name)
	case len(put.IndexPatterns) == 0:
		err = fmt.Errorf("index patterns are missing")
	default:
		err = faultOf(put.Template.Mappings.Properties)
	}
	for other, there := range s.templates {
		if err == nil && other != name && there.Priority == put.Priority && slices.ContainsFunc(put.IndexPatterns, func(pattern string) bool {
			return slices.Contains(there.IndexPatterns, pattern)
		}) {
			err = fmt.Errorf("index template [%s] has the patterns of [%s] with the same priority", name, other)
		}
	}
	if err != nil {
		s.complain(w, http.StatusBadRequest, "illegal_argument_exception", err.Error())
		return
	}
	s.templates[name] = put
	answer(w, http.StatusOK, map[string]any{"acknowledged": true})
}

func faultOf(properties map[string]field) error {
	for name, f := range properties {
		switch f.Type {
		case "keyword", "text", "date", "double", "long", "object", "":
		default:
			return fmt.Errorf("no handler for type [%s] declared on field [%s]", f.Type, name)
		}
		isObject := f.Type == "object" || f.Type == "" && f.Properties != nil
		switch {
		case !isObject && (f.Enabled != nil || f.Properties != nil || f.Type == ""):
			return fmt.Errorf("unknown parameter on mapper [%s] of type [%s]", name, f.Type)
		case f.Type != "keyword" && f.IgnoreAbove != 0:
			return fmt.Errorf("unknown parameter [ignore_above] on mapper [%s] of type [%s]", name, f.Type)
		}
		if err := faultOf(f.Properties); err != nil {
			return err
		}
	}
	return nil
}

// mapping is how an index takes documents in.
type mapping struct {
	dynamic, lenient bool
	properties       map[string]field
}

func (s *Server) mappingOf(index string) mapping {
	for _, t := range s.templates {
		if slices.Contains(t.IndexPatterns, index) {
			lenient, _ := t.Template.Settings["index.mapping.ignore_malformed"].(bool)
			return mapping{t.Template.Mappings.Dynamic, lenient, t.Template.Mappings.Properties}
		}
	}
	return mapping{dynamic: true}
}

// maxFields is index.mapping.total_fields.limit.
const maxFields = 1000

func (m mapping) takes(document Document) bool {
	names := map[string]bool{}
	return m.fits(m.properties, "", document, names) && len(names) <= maxFields
}

func (m mapping) fits(properties map[string]field, path string, object map[string]any, names map[string]bool) bool {
	for name, value := range object {
		if strings.Trim(name, ". ") != name || name == "" {
			return false // field name cannot be empty, nor begin or end with a dot
		}
		f, known := properties[name]
		switch {
		case !known && !m.dynamic, f.Enabled != nil && !*f.Enabled:
			continue
		case !known:
			names[path+"."+name] = true
		}
		for _, each := range listOf(value) {
			if inner, is := each.(map[string]any); is {
				if known && f.Properties == nil || !m.fits(f.Properties, path+"."+name, inner, names) {
					return false
				}
			} else if known && !f.takes(each) && (!m.lenient || f.Type == "" || f.Type == "object") {
				return false
			}
		}
	}
	return true
}

func listOf(value any) []any {
	if list, is := value.([]any); is {
		return list
	}
	return []any{value}
}

// takes reports whether a value is one of the field's type.
func (f field) takes(value any) bool {
	text := fmt.Sprint(value)
	switch f.Type {
	case "date":
		_, err := time.Parse(time.RFC3339Nano, text)
		return err == nil
	case "double":
		number, err := strconv.ParseFloat(text, 64)
		return err == nil && number-number == 0 // NaN and infinity are no values
	case "long":
		_, isNumber := value.(float64)
		_, err := strconv.ParseInt(text, 10, 64)
		return isNumber || err == nil
	case "object", "":
		return value == nil
	default:
		return true
	}
}
