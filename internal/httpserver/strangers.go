package httpserver

import (
	"net/http"
	"time"
)

// strangerAnswer bounds how long a client that no guard let in may take for an answer, and strangerBody how
// long what it sends with a request is waited for, behind the answer: one that is refused has often sent it.
const strangerAnswer, strangerBody = 5 * time.Second, time.Second

// asStrangers serves requests as those of strangers until a guard lets them in.
func asStrangers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := strangerBody
		if r.ContentLength == 0 {
			body = 0
		} else {
			w.Header().Set("Connection", "close")
		}
		bound(w, strangerAnswer, body)
		next.ServeHTTP(w, r)
	})
}

// admit gives whoever a guard lets in the time that others do not have.
func admit(w http.ResponseWriter, r *http.Request) {
	known, is := r.Context().Value(ofConn{}).(func())
	if !is {
		return // of no server of ours
	}
	known()
	if r.ContentLength == 0 {
		bound(w, answerTimeout, 0)
		return
	}
	w.Header().Del("Connection")
	bound(w, answerTimeout, requestTimeout)
}

// bound has the answer be taken, and what there is of a request be sent, from now on within some time. A
// connection that cannot be bounded so has the bounds of its server.
func bound(w http.ResponseWriter, answer, body time.Duration) {
	control, now := http.NewResponseController(w), time.Now()
	_ = control.SetWriteDeadline(now.Add(answer))
	if body > 0 {
		_ = control.SetReadDeadline(now.Add(body))
	}
}
