// Package route is one method of one path of Nissa: who may ask, who answers, and what is
// said of it. What is served and what describes it are made of the same tables of routes.
package route

import (
	"net/http"

	"github.com/esper-lite/weatherlight/internal/httpserver"
)

// Stream is the media of an answer without an end, of events.
const Stream = "text/event-stream"

// Route is one method of one path. Body and Answer are examples of their types, nil: there
// is none, or one that is no JSON but of Media.
type Route struct {
	Method, Path, Summary string
	Parameters            []Parameter
	Body, Answer          any
	Status                int // of an answer
	Media                 string
	Refusals              map[int]string // why not, by status; that of who may not ask is everybody's
	Handler               http.Handler
}

// Parameter of a request's query. Its kind is a format of JSON, or kind for that of an event.
type Parameter struct{ Name, Kind, About string }

// Pattern is what a mux knows it by.
func (r Route) Pattern() string { return r.Method + " " + r.Path }

// Register adds routes to mux, which lies behind [httpserver.Guard.Beyond]: whoever reads was let in there. What
// changes something needs the token wherever it comes from, and a stream as long as it is followed.
func Register(mux *http.ServeMux, guard httpserver.Guard, routes []Route) {
	for _, r := range routes {
		handler := r.Handler
		switch {
		case r.Media == Stream:
			handler = guard.Following(handler)
		case r.Method != http.MethodGet:
			handler = guard.Changing(handler)
		}
		mux.Handle(r.Pattern(), handler)
	}
}
