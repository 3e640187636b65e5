package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/esper-lite/weatherlight/urza"
)

const (
	// path is what the path of every kernel begins with.
	path = "/kernels/"
	// signatureExtension makes of a kernel's path that of its signature.
	signatureExtension = ".minisig"
	// chunk is how much of a kernel is held in memory twice for each request.
	chunk = 64 << 10
	// requests bounds how many kernels are sent at a time.
	requests = 64
	// stalled is how long a client may take to make room for the next chunk.
	stalled = 30 * time.Second
	// retryAfter is how many seconds a client is asked to wait.
	retryAfter = "1"
)

var checksumForm = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Library is where kernels are kept. Its errors are those of *urza.Library.
type Library interface {
	OpenChecksum(ctx context.Context, sum string) (io.ReadCloser, int64, error)
	Signature(ctx context.Context, sum string) ([]byte, error)
}

// newKernels serves GET and HEAD of /kernels/<sha256>: the bytes of the kernel with that
// checksum, in lower-case hexadecimal, whichever store they lie in. A kernel never
// changes, so it may be kept for ever; ranges are not served. What is unknown, damaged,
// set aside or withheld is 404, a library that does not answer 503.
//
// A kernel that turns out to be damaged while it is sent is cut off before its end: the
// client misses bytes and never takes it for whole.
//
// <path of a kernel>.minisig is its minisign signature, 404 when nobody signed it. It
// may be signed anew, so it is not to be kept without asking.
//
// A client that takes nothing for half a minute is left. What a library says when it
// does not answer goes to the log.
func newKernels(library Library, logger *slog.Logger) http.Handler {
	return &kernels{library: library, logger: logger, places: make(chan struct{}, requests)}
}

type kernels struct {
	library Library
	logger  *slog.Logger
	places  chan struct{} // one for each request that is being served
}

func (k *kernels) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		fail(w, http.StatusMethodNotAllowed, "only GET and HEAD")
		return
	}
	name, found := strings.CutPrefix(r.URL.Path, path)
	sum, signature := strings.CutSuffix(name, signatureExtension)
	if !found || !checksumForm.MatchString(sum) {
		fail(w, http.StatusNotFound, "no such kernel")
		return
	}
	select {
	case k.places <- struct{}{}:
		defer func() { <-k.places }()
	default:
		w.Header().Set("Retry-After", retryAfter)
		fail(w, http.StatusServiceUnavailable, "too many requests at a time")
		return
	}
	if signature {
		k.serveSignature(w, r, sum)
		return
	}
	k.serve(w, r, sum)
}

func (k *kernels) serveSignature(w http.ResponseWriter, r *http.Request, sum string) {
	text, err := k.library.Signature(r.Context(), sum)
	if err != nil {
		k.refuse(w, sum, err)
		return
	}
	header := w.Header()
	header.Set("Cache-Control", "no-cache")
	header.Set("Content-Type", "text/plain; charset=utf-8")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Length", strconv.Itoa(len(text)+1))
	_, _ = w.Write(append(text, '\n')) //nolint:gosec // plain text, which no browser sniffs; the client may be gone
}

func (k *kernels) serve(w http.ResponseWriter, r *http.Request, sum string) {
	content, size, err := k.library.OpenChecksum(r.Context(), sum)
	if err != nil {
		k.refuse(w, sum, err)
		return
	}
	defer content.Close()
	tag := `"` + sum + `"`
	header := w.Header()
	header.Set("ETag", tag)
	header.Set("Cache-Control", "public, max-age=31536000, immutable")
	if matches(r.Header.Get("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	header.Set("Content-Type", "application/octet-stream")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Accept-Ranges", "none")
	header.Set("Content-Length", strconv.FormatInt(size, 10))
	if r.Method == http.MethodHead {
		return
	}
	client := &patient{ResponseWriter: w, control: http.NewResponseController(w)}
	sent, err := transfer(client, content)
	switch {
	case err == nil || r.Context().Err() != nil:
	case !client.answered:
		header.Del("ETag")
		header.Del("Cache-Control")
		header.Del("Content-Length")
		k.refuse(w, sum, err)
	default:
		k.logger.Warn("kernel cut off while it was sent", "checksum", sum, "bytes", sent, "of", size, "error", err)
	}
}

// patient gives a client the same time for each write.
type patient struct {
	http.ResponseWriter

	control  *http.ResponseController
	answered bool // the header is on its way
}

func (p *patient) Write(chunk []byte) (int, error) {
	if len(chunk) == 0 {
		return 0, nil // the header can wait until there is something to send
	}
	p.answered = true
	if err := p.control.SetWriteDeadline(time.Now().Add(stalled)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return p.ResponseWriter.Write(chunk)
}

// matches says whether a client has the kernel already.
func matches(ifNoneMatch, tag string) bool {
	for candidate := range strings.SplitSeq(ifNoneMatch, ",") {
		candidate = strings.TrimPrefix(strings.TrimSpace(candidate), "W/")
		if candidate == tag || candidate == "*" {
			return true
		}
	}
	return false
}

// transfer copies one chunk behind what it has read: the last bytes leave only when
// the reader has said that all of them are good.
func transfer(to io.Writer, from io.Reader) (sent int64, err error) {
	held, next := make([]byte, 0, chunk), make([]byte, chunk)
	for {
		n, err := fill(next, from)
		end := errors.Is(err, io.EOF)
		if err != nil && !end {
			return sent, err
		}
		written, err := to.Write(held)
		sent += int64(written)
		if err != nil {
			return sent, err
		}
		held, next = next[:n], held[:chunk]
		if end {
			written, err = to.Write(held)
			return sent + int64(written), err
		}
	}
}

// fill reads until the buffer is full or the reader has had enough.
func fill(buffer []byte, from io.Reader) (n int, err error) {
	for n < len(buffer) && err == nil {
		var more int
		more, err = from.Read(buffer[n:])
		n += more
	}
	return n, err
}

// refuse tells what a trainer can do about it, and nothing of the library's inside.
func (k *kernels) refuse(w http.ResponseWriter, sum string, err error) {
	for _, absent := range []error{
		urza.ErrNotFound, urza.ErrWithheld, urza.ErrArtifactMissing, urza.ErrChecksumMismatch, urza.ErrUnreadable,
	} {
		if errors.Is(err, absent) {
			fail(w, http.StatusNotFound, "no such kernel")
			return
		}
	}
	k.logger.Warn("kernel not served", "checksum", sum, "error", err)
	w.Header().Set("Retry-After", retryAfter)
	fail(w, http.StatusServiceUnavailable, "the library does not answer")
}

func fail(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_, _ = fmt.Fprintln(w, text) // the client may be gone
}
