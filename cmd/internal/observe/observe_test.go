package observe

import (
	"errors"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/nissa"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/signing"
)

// TestPageLeavesTheBusAsItWas opens a page, and one whose address is taken.
func TestPageLeavesTheBusAsItWas(t *testing.T) {
	keyring, err := signing.NewKeyring("a secret of some length")
	if err != nil {
		t.Fatal(err)
	}
	server := redistest.Start(t)
	config := Config{
		Bus: server.URL, Keyring: keyring, Group: "esper-test", HTTP: nissa.HTTP{Addr: "127.0.0.1:0"},
		Store: nissa.Store{URL: "sqlite:///" + filepath.Join(t.TempDir(), "runs.db")}, Logger: slog.New(slog.DiscardHandler),
	}
	page, err := Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get("http://" + page.Addr() + "/api/runs")
	if err != nil || response.StatusCode != http.StatusOK || response.Body.Close() != nil {
		t.Fatalf("the page answers %v, %v", response, err)
	}
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	second := config
	second.Group, second.HTTP.Addr = "esper-other", taken.Addr().String()
	begun := time.Now()
	if _, err := Open(t.Context(), second); !errors.Is(err, ErrEnded) || time.Since(begun) >= readyTimeout {
		t.Errorf("an address that is taken: %v after %s", err, time.Since(begun))
	}
	if err := page.Close(); err != nil {
		t.Fatal(err)
	}
	bus, err := oona.Connect(t.Context(), oona.Config{URL: server.URL, Group: "look", Consumer: "look", Keyring: keyring})
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	streams, err := bus.Admin().Streams(t.Context())
	if err != nil || len(streams) == 0 {
		t.Fatalf("%d streams, %v", len(streams), err)
	}
	for _, stream := range streams {
		if len(stream.Groups) > 0 {
			t.Errorf("%s is left with %+v", stream.Name, stream.Groups)
		}
	}
}
