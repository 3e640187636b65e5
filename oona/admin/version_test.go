package admin

import "testing"

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
