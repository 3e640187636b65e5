package settings

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// A setting with a letter too few has no effect, which nothing else says.
func TestNamesThatNobodyReadsAreFound(t *testing.T) {
	file := filepath.Join(t.TempDir(), ".env")
	if err := os.WriteFile(file, []byte("TAMIYO_STAL_EPOCHS=3\nOTHER=1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Load(Options{EnvFile: file, SecretOptional: true, Environ: []string{
		"WEATHERLIGHT_HTTP_ADR=127.0.0.1:1", "OONA_NORMAL_STREAM=x", "OONA_SOMETHING_THAT_NEVER_WAS=1", "PATH=/bin",
		"KASMINA_MINTRAINING=2", "TAMYIO_STALL_EPOCHS=3", "NISA_URL=http://h", "SIGMA=2", "NISSA_URL=", "REDIS_URLS=redis://h",
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := []Misspelt{
		{"KASMINA_MINTRAINING", "KASMINA_MIN_TRAINING"}, {"NISA_URL", "NISSA_URL"}, {"OONA_SOMETHING_THAT_NEVER_WAS", ""},
		{"TAMIYO_STAL_EPOCHS", "TAMIYO_STALL_EPOCHS"}, {"TAMYIO_STALL_EPOCHS", "TAMIYO_STALL_EPOCHS"}, {"WEATHERLIGHT_HTTP_ADR", "WEATHERLIGHT_HTTP_ADDR"},
	}
	if got := Misspellings(s); !slices.Equal(got, want) {
		t.Errorf("found %v", got)
	}
	for _, test := range []struct {
		a, b string
		want int
	}{{"", "abc", 3}, {"abc", "abc", 0}, {"kitten", "sitting", 3}, {"abc", "", 3}} {
		if got := distance(test.a, test.b); got != test.want {
			t.Errorf("%q to %q: %d", test.a, test.b, got)
		}
	}
}

// TestLogHasTheSettingsThatWereGiven: a hundred defaults hid them.
func TestLogHasTheSettingsThatWereGiven(t *testing.T) {
	s, err := Load(Options{EnvFile: os.DevNull, Environ: []string{"ESPER_LEYLINE_SECRET=a secret of some length", "KASMINA_SIGMA=2"}})
	if err != nil {
		t.Fatal(err)
	}
	given := s.LogValue().Group()
	if len(given) != 2 || given[0].String() != "ESPER_LEYLINE_SECRET=***" || given[1].String() != "KASMINA_SIGMA=2" {
		t.Errorf("logged %v", given)
	}
}
