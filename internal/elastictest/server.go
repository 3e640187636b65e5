// Package elastictest stands for an Elasticsearch: a server that keeps documents by its bulk
// interface and index templates, and that refuses what Elasticsearch 8 is documented to refuse.
package elastictest

import (
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// Document is one that is kept.
type Document map[string]any

// Fault decides on a request before the server does. It answers with a status and a body, or with
// 0 and leaves it to the server.
type Fault func(r *http.Request) (status int, body string)

// Server is the double. Its fields are set before it is asked.
type Server struct {
	User, Password string // empty: anybody may
	MaxBody        int64  // of a request; 0: 100 MiB

	t    testing.TB
	http *httptest.Server

	mu         sync.Mutex
	fault      Fault
	faultItem  func(index, id string) (status int, kind string)
	indices    map[string]map[string]Document
	templates  map[string]template
	repeated   int
	requests   int
	complaints []string
}

// Start starts a server on a port of its own.
func Start(t testing.TB) *Server {
	t.Helper()
	return StartAt(t, "127.0.0.1:0")
}

// StartAt starts a server at an address.
func StartAt(t testing.TB, address string) *Server {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, indices: map[string]map[string]Document{}, templates: map[string]template{}}
	s.http = &httptest.Server{Listener: listener, Config: &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}}
	s.http.Start()
	t.Cleanup(s.Stop)
	return s
}

// Stop ends the server. What it kept can still be looked at.
func (s *Server) Stop() { s.http.Close() }

// URL is where it answers.
func (s *Server) URL() string { return s.http.URL }

// Refuse sets what decides on requests first; nil: nothing does.
func (s *Server) Refuse(fault Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fault
}

// RefuseItems sets what decides on documents first: a status of 0 leaves one to the server.
func (s *Server) RefuseItems(fault func(index, id string) (status int, kind string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faultItem = fault
}

// Documents are those of an index by their ids.
func (s *Server) Documents(index string) map[string]Document {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.indices[index])
}

// Repeated is how many documents came though they were there; requests how many bulk requests came.
func (s *Server) Repeated() (documents, requests int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.repeated, s.requests
}

// Complaints are requests that no client should make.
func (s *Server) Complaints() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.complaints...)
}

// Templates are the names of the index templates.
func (s *Server) Templates() (names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.templates {
		names = append(names, name)
	}
	return names
}

// ServeHTTP answers as Elasticsearch does.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client went away
	}
	if user, password, _ := r.BasicAuth(); user != s.User || password != s.Password {
		s.refuse(w, http.StatusUnauthorized, "security_exception", "unable to authenticate user")
		return
	}
	if s.fault != nil {
		if status, text := s.fault(r); status != 0 {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, text) // the client went away
			return
		}
	}
	most := s.MaxBody
	if most == 0 {
		most = 100 << 20
	}
	if int64(len(body)) > most {
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return
	}
	switch name, isTemplate := strings.CutPrefix(r.URL.Path, "/_index_template/"); {
	case r.URL.Path == "/_bulk" && r.Method == http.MethodPost:
		s.bulk(w, r.Header.Get("Content-Type"), body)
	case isTemplate && r.Method == http.MethodPut:
		s.putTemplate(w, name, r.Header.Get("Content-Type"), body)
	default:
		s.complain(w, http.StatusBadRequest, "illegal_argument_exception", "no handler found for uri ["+r.URL.Path+"] and method ["+r.Method+"]")
	}
}

// complain refuses what a client should not have asked.
func (s *Server) complain(w http.ResponseWriter, status int, kind, reason string) {
	s.complaints = append(s.complaints, kind+": "+reason)
	s.refuse(w, status, kind, reason)
}

func (s *Server) refuse(w http.ResponseWriter, status int, kind, reason string) {
	cause := map[string]any{"type": kind, "reason": reason}
	answer(w, status, map[string]any{"error": map[string]any{"root_cause": []any{cause}, "type": kind, "reason": reason}, "status": status})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client went away
}
