package httpapi

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"strings"
)

// guard lets everybody in on a listener that only this machine reaches. Elsewhere a
// request needs the token, as "Authorization: Bearer <token>"; without a token nobody
// gets in.
func guard(listener net.Addr, token string, next http.Handler) http.Handler {
	if loopback(listener) {
		return next
	}
	want := sha256.Sum256([]byte(token)) // so that comparing takes as long for every text
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		got := sha256.Sum256([]byte(given))
		good := subtle.ConstantTimeCompare(got[:], want[:]) == 1
		if token == "" || !strings.EqualFold(scheme, "Bearer") || !good {
			w.Header().Set("WWW-Authenticate", `Bearer realm="weatherlight"`)
			fail(w, http.StatusUnauthorized, "a bearer token is needed")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// loopback says that only this machine reaches a listener.
func loopback(listener net.Addr) bool {
	switch address := listener.(type) {
	case *net.TCPAddr:
		return address.IP.IsLoopback()
	case *net.UnixAddr:
		return true
	default:
		return false
	}
}
