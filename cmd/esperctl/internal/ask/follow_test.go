package ask

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/esper-lite/weatherlight/settings"
)

var errEnough = errors.New("enough")

// TestStreamThatBreaksOffIsTakenUpWhereItWas ends the connection after each event.
func TestStreamThatBreaksOffIsTakenUpWhereItWas(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, r.URL.RawQuery)
		if n := len(asked); n > 1 {
			_, _ = fmt.Fprintf(w, ": alive\n\nid: %d\nevent: event\ndata: {\"n\":%d}\n\n", n, n)
			return
		}
		_, _ = fmt.Fprint(w, "retry: 1000\nid: 1\n\n")
	}))
	defer server.Close()
	s, err := settings.Load(settings.Options{SecretOptional: true, EnvFile: "/dev/null", Environ: []string{"NISSA_URL=" + server.URL}})
	if err != nil {
		t.Fatal(err)
	}
	nissa, err := Nissa(s)
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	err = nissa.Follow(t.Context(), "/api/stream", map[string][]string{"run": {"r"}}, func(e Event) error {
		told = append(told, e.Kind+" "+string(e.Data))
		if len(told) == 2 {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) || strings.Join(told, ", ") != `event {"n":2}, event {"n":3}` {
		t.Errorf("told %v, ended with %v", told, err)
	}
	if want := []string{"run=r", "after=1&run=r", "after=2&run=r"}; !slices.Equal(asked, want) {
		t.Errorf("asked %q", asked)
	}
}

// TestServicesAreAskedWhereTheyListen and never show a password of their address.
func TestServicesAreAskedWhereTheyListen(t *testing.T) {
	for addr, want := range map[string]string{
		"0.0.0.0:9100": "http://127.0.0.1:9100", "[::]:9100": "http://127.0.0.1:9100", "10.0.0.7:1": "http://10.0.0.7:1",
	} {
		s, err := settings.Load(settings.Options{SecretOptional: true, EnvFile: "/dev/null", Environ: []string{"NISSA_HTTP_ADDR=" + addr}})
		if err != nil {
			t.Fatal(err)
		}
		if service, err := Nissa(s); err != nil || service.Base() != want {
			t.Errorf("%s is asked at %v, %v", addr, service, err)
		}
	}
	s, err := settings.Load(settings.Options{
		SecretOptional: true, EnvFile: "/dev/null", Environ: []string{"NISSA_URL=http://user:hunter2@127.0.0.1:1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	service, err := Nissa(s)
	if err != nil {
		t.Fatal(err)
	}
	if err := service.Get(t.Context(), "/api/runs", nil, new(any)); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("an address with a password: %v", err)
	}
}
