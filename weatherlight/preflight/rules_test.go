package preflight

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/oona/admin"
)

func TestDataFolderThatCannotBeMadeIsFound(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "below"), filepath.Join(file, "far", "below")} {
		if err := tryDataDir(dir); err == nil {
			t.Errorf("%s can be a data folder", dir)
		}
	}
	if err := tryDataDir(filepath.Join(t.TempDir(), "a", "b")); err != nil {
		t.Error(err)
	}
}

func TestOldServerIsRefused(t *testing.T) {
	for version, ok := range map[string]bool{
		"5.0.14": false, "6.0.20": false, "6.2.0": true, "6.2": true, "7.0.15": true, "8.0.1": true, "10.0": true,
		"6": false, "": true, "unstable": true,
	} {
		if err := checkVersion(admin.Server{Product: "redis", Version: version}); (err == nil) != ok {
			t.Errorf("version %q: %v", version, err)
		}
	}
}

func TestSkewIsJudgedByWhatIsCertain(t *testing.T) {
	for _, test := range []struct {
		skew, uncertainty time.Duration
		ok                bool
	}{
		{0, 0, true}, {5 * time.Second, 0, true}, {6 * time.Second, 0, false}, {-6 * time.Second, 0, false},
		{6 * time.Second, 2 * time.Second, true}, {-time.Hour, time.Second, false},
	} {
		if err := checkSkew(admin.Server{Skew: test.skew, Uncertainty: test.uncertainty}); (err == nil) != test.ok {
			t.Errorf("%v ± %v: %v", test.skew, test.uncertainty, err)
		}
	}
	if err := checkSet(time.Unix(0, 0)); err == nil {
		t.Error("the clock of 1970 is set")
	}
}
