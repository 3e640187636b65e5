package httpserver

import (
	"crypto/sha256"
	"crypto/subtle"
	"io"
	"net"
	"net/http"
	"strings"
)

// Guard says who may ask on a listener. Whoever knows its token sends it as
// "Authorization: Bearer <token>".
type Guard struct {
	want  [sha256.Size]byte // so that comparing takes as long for every text
	none  bool              // there is no token: nobody knows it
	local bool              // only this machine reaches the listener
}

// NewGuard returns the guard of a listener; with an empty token nobody knows the token.
func NewGuard(listener net.Addr, token string) Guard {
	return Guard{want: sha256.Sum256([]byte(token)), none: token == "", local: loopback(listener)}
}

// Reading lets everybody in on a listener that only this machine reaches. Elsewhere a
// request needs the token.
func (g Guard) Reading(next http.Handler) http.Handler {
	if g.local {
		return next
	}
	return g.Changing(next)
}

// Changing lets in who knows the token, wherever the request comes from.
func (g Guard) Changing(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !g.knows(r) {
			refuse(w)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (g Guard) knows(r *http.Request) bool {
	scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	got := sha256.Sum256([]byte(given))
	return !g.none && strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare(got[:], g.want[:]) == 1
}

func refuse(w http.ResponseWriter) {
	w.Header().Set("WWW-Authenticate", `Bearer realm="weatherlight"`)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusUnauthorized)
	_, _ = io.WriteString(w, `{"error":"a bearer token is needed"}`+"\n") // the client may be gone
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
