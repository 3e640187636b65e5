package urza

import (
	"bufio"
	"crypto/md5"
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

// objectServer is the part of S3 that the library needs, in path style, with one
// bucket named "kernels" in memory.
type objectServer struct {
	*httptest.Server
	requests atomic.Int64
	down     atomic.Bool

	mu      sync.Mutex
	objects map[string]storedObject
}

type storedObject struct {
	content  []byte
	modified time.Time
}

const (
	objectBucket = "kernels"
	objectUser   = "librarian"
)

func startObjectServer(t testing.TB) *objectServer {
	t.Helper()
	s := &objectServer{objects: map[string]storedObject{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

// configure makes a library keep its artifacts here.
func (s *objectServer) configure(cfg Config) Config {
	cfg.ArtifactURL = "s3://" + objectBucket + "/lib/v1?endpoint=" + s.URL + "&region=eu-1"
	cfg.S3AccessKey, cfg.S3SecretKey = objectUser, "hunter2"
	cfg.ObjectTrust = -1
	return cfg
}

func (s *objectServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.requests.Add(1)
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch {
	case s.down.Load():
		refuse(w, http.StatusInternalServerError, "InternalError")
	case !strings.Contains(r.Header.Get("Authorization"), "Credential="+objectUser+"/"):
		refuse(w, http.StatusForbidden, "AccessDenied")
	case bucket != objectBucket:
		refuse(w, http.StatusNotFound, "NoSuchBucket")
	case key == "" && r.Method == http.MethodGet:
		s.list(w, r.URL.Query().Get("prefix"), r.URL.Query().Get("delimiter"))
	case r.Method == http.MethodPut && r.Header.Get("X-Amz-Copy-Source") != "":
		s.copy(w, r, key)
	case r.Method == http.MethodPut:
		s.put(w, r, key)
	case r.Method == http.MethodDelete:
		s.delete(key)
		w.WriteHeader(http.StatusNoContent)
	default:
		s.get(w, key)
	}
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<Error><Code>%s</Code><Message>%s</Message></Error>", code, code)
}

func etag(content []byte) string {
	sum := md5.Sum(content)
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

func (s *objectServer) put(w http.ResponseWriter, r *http.Request, key string) {
	content, err := io.ReadAll(r.Body)
	if err == nil && strings.HasPrefix(r.Header.Get("X-Amz-Content-Sha256"), "STREAMING-") {
		content, err = unchunk(content)
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, "IncompleteBody")
		return
	}
	s.store(key, content)
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

func (s *objectServer) store(key string, content []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects[key] = storedObject{content, time.Now()}
}

func (s *objectServer) delete(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.objects, key)
}

func (s *objectServer) object(key string) (storedObject, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	object, found := s.objects[key]
	return object, found
}

// keys are the objects below a prefix, in order.
func (s *objectServer) keys(prefix string) (keys []string) {
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

func (s *objectServer) get(w http.ResponseWriter, key string) {
	object, found := s.object(key)
	if !found {
		refuse(w, http.StatusNotFound, "NoSuchKey")
		return
	}
	w.Header().Set("ETag", etag(object.content))
	w.Header().Set("Last-Modified", object.modified.UTC().Format(http.TimeFormat))
	w.Header().Set("Content-Length", strconv.Itoa(len(object.content)))
	_, _ = w.Write(object.content) // of a HEAD the server drops it
}

func (s *objectServer) copy(w http.ResponseWriter, r *http.Request, key string) {
	source := strings.TrimPrefix(r.Header.Get("X-Amz-Copy-Source"), "/")
	object, found := s.object(strings.TrimPrefix(source, objectBucket+"/"))
	if !found {
		refuse(w, http.StatusNotFound, "NoSuchKey")
		return
	}
	s.store(key, object.content)
	fmt.Fprintf(w, "<CopyObjectResult><ETag>%s</ETag><LastModified>%s</LastModified></CopyObjectResult>",
		etag(object.content), time.Now().UTC().Format(time.RFC3339))
}

type listing struct {
	XMLName  xml.Name `xml:"ListBucketResult"`
	Contents []listed
}

type listed struct {
	Key, ETag, LastModified string
	Size                    int
}

func (s *objectServer) list(w http.ResponseWriter, prefix, delimiter string) {
	var found listing
	for _, key := range s.keys(prefix) {
		if delimiter != "" && strings.Contains(strings.TrimPrefix(key, prefix), delimiter) {
			continue
		}
		object, _ := s.object(key)
		found.Contents = append(found.Contents, listed{
			key, etag(object.content), object.modified.UTC().Format(time.RFC3339), len(object.content),
		})
	}
	w.Header().Set("Content-Type", "application/xml")
	if err := xml.NewEncoder(w).Encode(found); err != nil {
		panic(err) // impossible: the listing is plain strings
	}
}
