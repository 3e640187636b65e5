// Package s3test is an S3-compatible store for tests, as far as the kernel library
// needs one: a real HTTP server on loopback with one bucket in memory.
package s3test

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The one bucket, and who may use it.
const (
	Bucket    = "kernels"
	AccessKey = "librarian"
	SecretKey = "hunter2"
)

// Server keeps objects in memory and speaks path style.
type Server struct {
	*httptest.Server
	// Requests counts what was asked; while Down is set nothing is answered well.
	Requests atomic.Int64
	Down     atomic.Bool
	// Forbidden, when set, is what the keys contain that nobody may read or list.
	Forbidden atomic.Pointer[string]
	// Spoil, when set, writes the answer to whoever reads an object, in the place of
	// its content. The head says what it always says, but for the length.
	Spoil atomic.Pointer[func(w http.ResponseWriter, content []byte)]

	mu      sync.Mutex
	objects map[string]object
}

type object struct {
	content  []byte
	modified time.Time
}

// Start runs a server until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{objects: map[string]object{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

// ArtifactURL is the library's address of a prefix of the bucket.
func (s *Server) ArtifactURL(prefix string) string {
	return "s3://" + Bucket + "/" + prefix + "?endpoint=" + s.URL + "&region=eu-1"
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.Requests.Add(1)
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch {
	case s.Down.Load():
		refuse(w, http.StatusInternalServerError, "InternalError")
	case !signed(r):
		refuse(w, http.StatusForbidden, "SignatureDoesNotMatch")
	case bucket != Bucket:
		refuse(w, http.StatusNotFound, "NoSuchBucket")
	case s.forbids(r, key):
		refuse(w, http.StatusForbidden, "AccessDenied")
	case key == "" && r.Method == http.MethodGet:
		s.list(w, r.URL.Query().Get("prefix"), r.URL.Query().Get("delimiter"))
	case r.Method == http.MethodPut && r.Header.Get("X-Amz-Copy-Source") != "":
		s.copy(w, r, key)
	case r.Method == http.MethodPut:
		s.put(w, r, key)
	case r.Method == http.MethodDelete:
		s.Delete(key)
		w.WriteHeader(http.StatusNoContent)
	default:
		s.get(w, r.Method, key)
	}
}

func (s *Server) forbids(r *http.Request, key string) bool {
	part := s.Forbidden.Load()
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	return part != nil && reads && strings.Contains(key, *part)
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<Error><Code>%s</Code><Message>%s</Message></Error>", code, code)
}

func etag(content []byte) string {
	sum := sha256.Sum256(content)
	return `"` + hex.EncodeToString(sum[:16]) + `"`
}

func (s *Server) put(w http.ResponseWriter, r *http.Request, key string) {
	content, err := io.ReadAll(r.Body)
	if err == nil && strings.HasPrefix(r.Header.Get("X-Amz-Content-Sha256"), "STREAMING-") {
		content, err = unchunk(content)
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, "IncompleteBody")
		return
	}
	s.Store(key, content)
	w.Header().Set("ETag", etag(content))
}

// unchunk decodes the body of a streaming signature: "size;chunk-signature" lines,
// each with so many bytes behind it, up to the size 0.
func unchunk(body []byte) ([]byte, error) {
	reader := bufio.NewReader(strings.NewReader(string(body)))
	var content []byte
	for {
		line, err := reader.ReadString('\n')
		if err != nil {
			return nil, err
		}
		text, _, _ := strings.Cut(strings.TrimSpace(line), ";")
		size, err := strconv.ParseInt(text, 16, 32)
		if err != nil || size == 0 {
			return content, err
		}
		piece := make([]byte, size+2)
		if _, err := io.ReadFull(reader, piece); err != nil {
			return nil, err
		}
		content = append(content, piece[:size]...)
	}
}

// Store puts an object in its place.
func (s *Server) Store(key string, content []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects[key] = object{content, time.Now()}
}

// Delete removes an object.
func (s *Server) Delete(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.objects, key)
}

func (s *Server) find(key string) (object, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept, found := s.objects[key]
	return kept, found
}

// Keys are the objects below a prefix, in order.
func (s *Server) Keys(prefix string) (keys []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.objects {
		if strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

func (s *Server) get(w http.ResponseWriter, method, key string) {
	kept, found := s.find(key)
	if !found {
		refuse(w, http.StatusNotFound, "NoSuchKey")
		return
	}
	w.Header().Set("ETag", etag(kept.content))
	w.Header().Set("Last-Modified", kept.modified.UTC().Format(http.TimeFormat))
	if spoil := s.Spoil.Load(); spoil != nil && method == http.MethodGet {
		(*spoil)(w, kept.content)
		return
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(kept.content)))
	_, _ = w.Write(kept.content) // of a HEAD the server drops it
}

func (s *Server) copy(w http.ResponseWriter, r *http.Request, key string) {
	source := strings.TrimPrefix(r.Header.Get("X-Amz-Copy-Source"), "/")
	kept, found := s.find(strings.TrimPrefix(source, Bucket+"/"))
	if !found {
		refuse(w, http.StatusNotFound, "NoSuchKey")
		return
	}
	s.Store(key, kept.content)
	fmt.Fprintf(w, "<CopyObjectResult><ETag>%s</ETag><LastModified>%s</LastModified></CopyObjectResult>",
		etag(kept.content), time.Now().UTC().Format(time.RFC3339))
}

type listing struct {
	XMLName  xml.Name `xml:"ListBucketResult"`
	Contents []listed
}

type listed struct {
	Key, ETag, LastModified string
	Size                    int
}

func (s *Server) list(w http.ResponseWriter, prefix, delimiter string) {
	var found listing
	for _, key := range s.Keys(prefix) {
		if delimiter != "" && strings.Contains(strings.TrimPrefix(key, prefix), delimiter) {
			continue
		}
		kept, _ := s.find(key)
		found.Contents = append(found.Contents, listed{
			key, etag(kept.content), kept.modified.UTC().Format(time.RFC3339), len(kept.content),
		})
	}
	w.Header().Set("Content-Type", "application/xml")
	if err := xml.NewEncoder(w).Encode(found); err != nil {
		panic(err) // impossible: the listing is plain strings
	}
}
