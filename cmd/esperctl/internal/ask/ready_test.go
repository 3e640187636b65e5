package ask

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/settings"
)

func TestReadyRepeatsWhyAServiceIsNot(t *testing.T) {
	s, err := settings.Load(settings.Options{SecretOptional: true, EnvFile: os.DevNull})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name    string
		handler http.HandlerFunc
		says    string
	}{
		{"ready", func(http.ResponseWriter, *http.Request) {}, ""},
		{"draining", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "draining", http.StatusServiceUnavailable) }, "draining"},
		{"silent", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "deadline exceeded"},
		{"elsewhere", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/readyz" {
				http.NotFound(w, r)
			}
		}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := httptest.NewServer(test.handler)
			defer server.Close()
			within := 10 * time.Second
			if test.name == "silent" {
				within = 20 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), within)
			defer cancel()
			_, err := Ready(ctx, s, strings.Replace(server.URL, "://", "://who:secret@", 1)+"/")
			if test.says == "" && err != nil || test.says != "" && (err == nil || !strings.Contains(err.Error(), test.says)) {
				t.Errorf("the answer is %v, want %q", err, test.says)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("a password is told: %v", err)
			}
		})
	}
}
