package settings_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/internal/certtest"
)

func TestTokensOfAListener(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens")
	s := mustLoad(t, "", "NISSA_HTTP_TOKEN_FILE="+file, "NISSA_HTTP_TOKEN=the-one-that-is-named")
	if _, err := s.Nissa.Listener().Tokens(); err == nil {
		t.Error("a file that is not there has tokens")
	}
	for text, want := range map[string][]string{
		"sixteen-letters-1\nsixteen-letters-2\n": {"sixteen-letters-1", "sixteen-letters-2", "the-one-that-is-named"},
		"\r\nsixteen-letters-1\r\n\r\n":          {"sixteen-letters-1", "the-one-that-is-named"},
		"":                                       nil, "\n": nil, "sixteen-letters-1\nshort": nil, "sixteen letters!": nil, "sixteen-letters-ä": nil,
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := s.Nissa.Listener().Tokens()
		if !slices.Equal(got, want) || (err != nil) != (want == nil) {
			t.Errorf("%q: %q, %v", text, got, err)
		}
		if err != nil && (strings.Contains(err.Error(), "sixteen-") || strings.Contains(err.Error(), "short")) {
			t.Errorf("what is in the file is in the error: %v", err)
		}
	}
}

func TestCertificateAndKeyBelongTogether(t *testing.T) {
	for assignment, fault := range map[string]string{
		"NISSA_HTTP_TLS_CERT_FILE=/x": "NISSA_HTTP_TLS_KEY_FILE", "NISSA_HTTP_TLS_KEY_FILE=/x": "NISSA_HTTP_TLS_CERT_FILE",
		"WEATHERLIGHT_HTTP_TLS_CERT_FILE=/x": "WEATHERLIGHT_HTTP_TLS_KEY_FILE",
	} {
		_, err := load(t, "", assignment)
		if err == nil || !slices.Equal(faultsOf(t, err), []string{fault}) {
			t.Errorf("%s: %v, want a fault of %s", assignment, err, fault)
		}
	}
	s := mustLoad(t, "", "NISSA_HTTP_TLS_CERT_FILE=/x", "NISSA_HTTP_TLS_KEY_FILE=/y")
	if s.Nissa.Listener().Scheme() != "https" || s.Weatherlight.Listener().Scheme() != "http" {
		t.Errorf("schemes %s, %s", s.Nissa.Listener().Scheme(), s.Weatherlight.Listener().Scheme())
	}
}

func TestTrustInCertificates(t *testing.T) {
	own, none := certtest.New(t), filepath.Join(t.TempDir(), "none.pem")
	if err := os.WriteFile(none, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]bool{own.File: true, none: false, none + ".gone": false} {
		trust, err := mustLoad(t, "", "ESPER_CA_FILE="+file).Weatherlight.Trust()
		if (err == nil) != want || (trust != nil && trust.RootCAs != nil) != want {
			t.Errorf("%s: %v", file, err)
		}
	}
	trust, err := mustLoad(t, "").Weatherlight.Trust()
	if err != nil || trust.RootCAs != nil {
		t.Errorf("by default those of the machine are not asked, when they are needed: %v", err)
	}
}
