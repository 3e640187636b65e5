package httpserver

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// Guard says who may ask on a listener. Whoever knows a token of it sends it as
// "Authorization: Bearer <token>".
type Guard struct {
	tokens func() []string
	local  bool // only this machine reaches the listener
}

// NewGuard returns the guard of a listener with one token; with an empty one nobody knows it. It is for
// tests of routes alone: a service has the guard of its [Worker].
func NewGuard(listener net.Addr, token string) Guard {
	return Guard{tokens: func() []string { return []string{token} }, local: loopback(listener)}
}

// Beyond is reading for all paths but those that are open to everybody.
func (g Guard) Beyond(next http.Handler, open ...string) http.Handler {
	guarded := g.reading(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if slices.Contains(open, r.URL.Path) {
			next.ServeHTTP(w, r)
			return
		}
		guarded.ServeHTTP(w, r)
	})
}

// reading lets everybody in on a listener that only this machine reaches. Elsewhere a
// request needs the token.
func (g Guard) reading(next http.Handler) http.Handler {
	if !g.local {
		return g.Changing(next)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		admit(w, r)
		next.ServeHTTP(w, r)
	})
}

// Changing lets in who knows the token, wherever the request comes from.
func (g Guard) Changing(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !g.knows(r) {
			refuse(w)
			return
		}
		admit(w, r)
		next.ServeHTTP(w, r)
	})
}

// askAgain is how long a token that is taken away lets in whoever follows.
const askAgain = 5 * time.Second

// Following is reading for an answer without an end: its request ends when the token no longer lets in.
func (g Guard) Following(next http.Handler) http.Handler {
	if g.local {
		return g.reading(next)
	}
	return g.Changing(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, end := context.WithCancel(r.Context())
		var asking sync.WaitGroup
		defer asking.Wait()
		defer end()
		asking.Go(func() {
			defer end()
			again := time.NewTicker(askAgain)
			defer again.Stop()
			for g.knows(r) {
				select {
				case <-again.C:
				case <-ctx.Done():
					return
				}
			}
		})
		next.ServeHTTP(w, r.WithContext(ctx))
	}))
}

// knows compares hashes, which takes as long for every text, and with every token.
func (g Guard) knows(r *http.Request) bool {
	scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	got, known := sha256.Sum256([]byte(given)), 0
	for _, token := range g.tokens() {
		if token != "" {
			want := sha256.Sum256([]byte(token))
			known |= subtle.ConstantTimeCompare(got[:], want[:])
		}
	}
	return strings.EqualFold(scheme, "Bearer") && known == 1
}

func refuse(w http.ResponseWriter) {
	w.Header().Set("WWW-Authenticate", `Bearer realm="weatherlight"`)
	answer(w, http.StatusUnauthorized, `{"error":"a bearer token is needed"}`)
}

func answer(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body+"\n") // the client may be gone
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

// forHosts refuses requests for a foreign name where only this machine reaches the listener: a page
// elsewhere whose name was made to lead here must not ask in the name of who looks at it. What comes
// for an address, for localhost or for nobody, as probes do, comes from no such page.
func forHosts(listener net.Addr, next http.Handler) http.Handler {
	if !loopback(listener) {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if foreign(r.Host) {
			answer(w, http.StatusMisdirectedRequest, `{"error":"the Host is not this machine"}`)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func foreign(host string) bool {
	name := host
	if bare, _, err := net.SplitHostPort(host); err == nil {
		name = bare
	}
	name = strings.ToLower(strings.TrimSuffix(strings.Trim(name, "[]"), "."))
	if _, err := netip.ParseAddr(name); err == nil {
		return false
	}
	return name != "" && name != "localhost" && !strings.HasSuffix(name, ".localhost")
}
