package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestReadyRepeatsWhyAServiceIsNot(t *testing.T) {
	t.Parallel()
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
			t.Parallel()
			server := httptest.NewServer(test.handler)
			defer server.Close()
			within := 10 * time.Second
			if test.name == "silent" {
				within = 20 * time.Millisecond
			}
			err := askReady(t.Context(), server.Client(), server.URL+"/", within)
			if test.says == "" && err != nil || test.says != "" && (err == nil || !strings.Contains(err.Error(), test.says)) {
				t.Errorf("the answer is %v, want %q", err, test.says)
			}
		})
	}
}
