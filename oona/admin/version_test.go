package admin

import "testing"

func TestServerVersionIsThatOfTheProtocol(t *testing.T) {
	for _, test := range []struct{ info, product, version string }{
		{"# Server\r\nredis_version:7.0.15\r\nos:Linux\r\n", "redis", "7.0.15"},
		{"# Server\r\nredis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.0.1\r\n", "valkey", "7.2.4"},
		{"", "", ""},
	} {
		if got := readInfo(test.info); got.Product != test.product || got.Version != test.version {
			t.Errorf("%q is %s %s", test.info, got.Product, got.Version)
		}
	}
}

// A server that evicts keys loses what it has acknowledged, and marks against replays.
func TestR35ServerTellsWhetherItEvicts(t *testing.T) {
	for _, test := range []struct{ info, evicts string }{
		{"maxmemory:0\r\nmaxmemory_policy:allkeys-lru\r\n", ""},
		{"maxmemory:1\r\nmaxmemory_policy:noeviction\r\n", ""},
		{"maxmemory:1\r\nmaxmemory_policy:allkeys-lru\r\n", "allkeys-lru"},
		{"maxmemory:1\r\nmaxmemory_policy:volatile-ttl\r\n", "volatile-ttl"},
		{"redis_version:7.0.15\r\n", ""}, {"", ""},
	} {
		if got := readInfo(test.info).Evicts; got != test.evicts {
			t.Errorf("%q evicts by %q", test.info, got)
		}
	}
}
