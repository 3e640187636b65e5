package karn_test

import (
	"context"
	"errors"
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/esper-lite/weatherlight/karn"
)

// parametersFit selects a blueprint that may be had with these parameters.
func parametersFit(catalog *karn.Catalog, id string, params map[string]float64) error {
	grant := karn.Grant{Quarantine: []string{id}}
	_, err := catalog.Select(context.Background(), karn.Request{BlueprintID: id, Parameters: params, Grant: grant})
	return err
}

func TestValidateFaults(t *testing.T) {
	cases := []struct {
		name, id string
		params   map[string]float64
		want     error
	}{
		{"lowest", "BP002", map[string]float64{"scale": 0.5}, nil},
		{"highest", "BP002", map[string]float64{"scale": 2}, nil},
		{"none declared, none given", "BP001", nil, nil},
		{"below", "BP002", map[string]float64{"scale": 0.49}, karn.ErrOutOfRange},
		{"above", "BP002", map[string]float64{"scale": 2.01}, karn.ErrOutOfRange},
		{"not a number", "BP002", map[string]float64{"scale": math.NaN()}, karn.ErrNotFinite},
		{"infinite", "BP002", map[string]float64{"scale": math.Inf(-1)}, karn.ErrNotFinite},
		{"missing", "BP002", nil, karn.ErrMissingParameter},
		{"one of two missing", "BP036", map[string]float64{"experts": 4}, karn.ErrMissingParameter},
		{"undeclared", "BP001", map[string]float64{"scale": 1}, karn.ErrUnknownParameter},
		{"unknown blueprint", "BP099", nil, karn.ErrUnknownBlueprint},
	}
	catalog := karn.NewCatalog()
	for _, c := range cases {
		if err := parametersFit(catalog, c.id, c.params); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
}

func TestValidateNamesTheParameterAndItsBounds(t *testing.T) {
	err := parametersFit(karn.NewCatalog(), "BP002", map[string]float64{"scale": 3})
	var fault *karn.ParameterError
	if !errors.As(err, &fault) {
		t.Fatalf("got %v", err)
	}
	want := karn.ParameterError{
		BlueprintID: "BP002", Parameter: "scale", Value: 3, Min: 0.5, Max: 2, Err: karn.ErrOutOfRange,
	}
	if *fault != want {
		t.Errorf("got %+v, want %+v", *fault, want)
	}
	const text = `karn: blueprint BP002: parameter "scale": out of range: 3 not within [0.5, 2]`
	if fault.Error() != text {
		t.Errorf("got %q", fault.Error())
	}
}

func TestMisspeltParameterIsRefusedNotIgnored(t *testing.T) {
	err := parametersFit(karn.NewCatalog(), "BP002", map[string]float64{"scael": 1})
	if !errors.Is(err, karn.ErrUnknownParameter) || !errors.Is(err, karn.ErrMissingParameter) {
		t.Errorf("both faults should be reported together: %v", err)
	}
}

func TestValidateAcceptsExactlyTheClosedInterval(t *testing.T) {
	catalog := karn.NewCatalog()
	blueprints := catalog.List()
	rapid.Check(t, func(t *rapid.T) {
		d := rapid.SampledFrom(blueprints).Draw(t, "blueprint")
		params, inside := karn.Midpoints(d), true
		for name, bounds := range d.AllowedParameters {
			value := rapid.Float64().Draw(t, name)
			params[name] = value
			inside = inside && value >= bounds.MinValue && value <= bounds.MaxValue
		}
		if err := parametersFit(catalog, d.BlueprintId, params); (err == nil) != inside {
			t.Fatalf("%s %v: %v", d.BlueprintId, params, err)
		}
		if err := parametersFit(catalog, d.BlueprintId, karn.Midpoints(d)); err != nil {
			t.Fatalf("midpoints refused: %v", err)
		}
	})
}
