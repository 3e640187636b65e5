package httpserver

import (
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestGuard(t *testing.T) {
	const token = "sixteen letters!"
	inside := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	everywhere, loopback := address("0.0.0.0"), address("127.0.0.1")
	for _, c := range []struct {
		name     string
		listener net.Addr
		token    string
		header   string
		code     int
	}{
		{"loopback without a token", loopback, "", "", 204},
		{"loopback asks for none", loopback, token, "", 204},
		{"loopback of IPv6", address("::1"), token, "", 204},
		{"socket file", &net.UnixAddr{Name: "x"}, token, "", 204},
		{"right token", everywhere, token, "Bearer " + token, 204},
		{"scheme in lower case", everywhere, token, "bearer " + token, 204},
		{"all addresses of IPv6", address("::"), token, "", 401},
		{"one address", address("192.0.2.7"), token, "", 401},
		{"no address at all", nil, token, "", 401},
		{"wrong token", everywhere, token, "Bearer sixteen letters?", 401},
		{"longer token", everywhere, token, "Bearer " + token + "x", 401},
		{"token alone", everywhere, token, token, 401},
		{"another scheme", everywhere, token, "Basic " + token, 401},
		{"no token is set", everywhere, "", "", 401},
		{"no token is set, and an empty one given", everywhere, "", "Bearer ", 401},
	} {
		asked := httptest.NewRequest(http.MethodGet, "/kernels/x", http.NoBody)
		if c.header != "" {
			asked.Header.Set("Authorization", c.header)
		}
		got := httptest.NewRecorder()
		NewGuard(c.listener, c.token).reading(inside).ServeHTTP(got, asked)
		if got.Code != c.code || (got.Code == 401) != (got.Header().Get("WWW-Authenticate") != "") {
			t.Errorf("%s: %d, want %d", c.name, got.Code, c.code)
		}
	}
}

func address(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 9180} }

func TestNamesAreNobodysWhereOthersReachTheListener(t *testing.T) {
	inside := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	for listener, want := range map[net.Addr]int{
		address("127.0.0.1"): 421, address("::1"): 421, address("0.0.0.0"): 204, address("::"): 204, address("192.0.2.7"): 204,
	} {
		asked := httptest.NewRequest(http.MethodGet, "http://nissa:9100/readyz", http.NoBody)
		got := httptest.NewRecorder()
		forHosts(listener, inside).ServeHTTP(got, asked)
		if got.Code != want {
			t.Errorf("%s: %d, want %d", listener, got.Code, want)
		}
	}
}
