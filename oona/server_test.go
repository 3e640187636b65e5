package oona_test

import (
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/signing"
)

func TestServerTellsVersionAndClock(t *testing.T) {
	keyring, err := signing.NewKeyring("secret")
	if err != nil {
		t.Fatal(err)
	}
	bus, err := oona.Connect(t.Context(), oona.Config{URL: redistest.Start(t).URL, Group: "g", Keyring: keyring})
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	server, err := bus.Admin().Server(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if server.Product == "" || server.Version == "" {
		t.Errorf("server %+v", server)
	}
	if bound := server.Uncertainty + time.Second; server.Skew.Abs() > bound {
		t.Errorf("the clock of this very machine is %v ahead of itself", server.Skew)
	}
}
