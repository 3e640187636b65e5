package ask

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/cmd/internal/process"
	"github.com/esper-lite/weatherlight/settings"
)

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestServicesAreAskedByHTTPSWithTheFirstToken, by whichever setting says where they are.
func TestServicesAreAskedByHTTPSWithTheFirstToken(t *testing.T) {
	var sent []string
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent = append(sent, r.Header.Get("Authorization"))
		if r.URL.Path == "/elsewhere" {
			http.Redirect(w, r, "/", http.StatusFound)
			return
		}
		_, _ = w.Write([]byte("{}"))
	}))
	defer server.Close()
	addr := strings.TrimPrefix(server.URL, "https://")
	authority := file(t, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	tokens := file(t, "the-first-of-tokens\nthe-second-of-tokens\n")
	for _, where := range [][]string{
		{"WEATHERLIGHT_URL=" + server.URL + "/", "WEATHERLIGHT_HTTP_ADDR=127.0.0.1:1"},
		{"WEATHERLIGHT_HTTP_ADDR=" + addr, "WEATHERLIGHT_HTTP_TLS_CERT_FILE=" + authority, "WEATHERLIGHT_HTTP_TLS_KEY_FILE=/not/for/who/asks"},
	} {
		s, err := settings.Load(settings.Options{SecretOptional: true, EnvFile: os.DevNull, Environ: append(where,
			"ESPER_CA_FILE="+authority, "WEATHERLIGHT_HTTP_TOKEN_FILE="+tokens, "WEATHERLIGHT_HTTP_TOKEN=another-token-of-tests")})
		if err != nil {
			t.Fatal(err)
		}
		service, err := Weatherlight(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := service.Get(t.Context(), "/status", nil, new(any)); err != nil || service.Base() != server.URL {
			t.Errorf("%v: at %s, %v", where, service.Base(), err)
		}
		asked := len(sent)
		if err := service.Get(t.Context(), "/elsewhere", nil, new(any)); err == nil || len(sent) != asked+1 {
			t.Errorf("%v: sent elsewhere it asked %d times, %v", where, len(sent)-asked, err)
		}
	}
	for _, header := range sent {
		if header != "Bearer the-first-of-tokens" {
			t.Errorf("sent %q", header)
		}
	}
}

func TestFilesThatAreNoneAreFaultsOfTheConfiguration(t *testing.T) {
	for name, says := range map[string]string{
		"WEATHERLIGHT_HTTP_TOKEN_FILE=/not/there": "WEATHERLIGHT_HTTP_TOKEN_FILE", "ESPER_CA_FILE=" + file(t, "none"): "ESPER_CA_FILE",
	} {
		s, err := settings.Load(settings.Options{SecretOptional: true, EnvFile: os.DevNull, Environ: []string{name}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Weatherlight(s); process.ExitCode(err) != process.ExitConfiguration || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
