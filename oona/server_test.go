package oona

import (
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/signing"
)

func TestServerTellsVersionAndClock(t *testing.T) {
	keyring, err := signing.NewKeyring("secret")
	if err != nil {
		t.Fatal(err)
	}
	bus, err := Connect(t.Context(), Config{URL: redistest.Start(t).URL, Group: "g", Keyring: keyring})
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	server, err := bus.Server(t.Context())
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

func TestServerVersionIsThatOfTheProtocol(t *testing.T) {
	for _, test := range []struct{ info, product, version string }{
		{"# Server\r\nredis_version:7.0.15\r\nos:Linux\r\n", "redis", "7.0.15"},
		{"# Server\r\nredis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.0.1\r\n", "valkey", "7.2.4"},
		{"", "", ""},
	} {
		if product, version := serverVersion(test.info); product != test.product || version != test.version {
			t.Errorf("%q is %s %s", test.info, product, version)
		}
	}
}
