package metadata

import "testing"

func TestFiniteJSON(t *testing.T) {
	tests := []struct{ in, out string }{
		{`{"a": NaN, "b": [Infinity, -Infinity, -1]}`, `{"a": null, "b": [null, null, -1]}`},
		{`{"NaN": "Infinity \" NaN \\", "x": NaN}`, `{"NaN": "Infinity \" NaN \\", "x": null}`},
		{`plain`, `plain`},
		{`"NaN\`, `"NaN\`},
	}
	for _, test := range tests {
		if got := string(Finite(test.in)); got != test.out {
			t.Errorf("%s: %s, want %s", test.in, got, test.out)
		}
	}
}
