package graft

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"aead.dev/minisign"

	"github.com/esper-lite/weatherlight/internal/regularfile"
	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/trainer"
)

// Ways to a kernel, as Config.KernelAccess names them.
const (
	AccessPath = "path"
	AccessHTTP = "http"
)

const (
	defaultFetchTimeout = 30 * time.Second
	signatureExtension  = ".minisig" // of the file beside a kernel that holds its signature
	maxSignature        = 8 << 10
)

// AttachError says why a kernel was not attached.
type AttachError struct {
	Seed    string
	Failure trainer.AttachFailure
	Err     error
}

func (e *AttachError) Error() string {
	return fmt.Sprintf("attach seed %s: %s: %v", e.Seed, e.Failure.Reason(), e.Err)
}

// Unwrap is the cause.
func (e *AttachError) Unwrap() error { return e.Err }

// fetcher reads kernels that others have announced.
type fetcher struct {
	access    []string
	origin    *url.URL // nil: none
	token     string
	keys      []minisign.PublicKey
	most      int64
	timeout   time.Duration
	client    *http.Client
	transport *http.Transport
}

func newFetcher(config *Config) (*fetcher, error) {
	f := &fetcher{
		access: config.KernelAccess, token: config.Kernels.Token,
		most: config.MaxArtifact, timeout: config.FetchTimeout,
	}
	if f.most <= 0 || f.most > kernel.MaxFileBytes {
		f.most = kernel.MaxFileBytes
	}
	f.timeout = cmp.Or(max(f.timeout, 0), defaultFetchTimeout)
	if config.Kernels.URL != "" {
		var err error
		if f.origin, err = readOrigin(config.Kernels.URL); err != nil {
			return nil, err
		}
	}
	if len(f.access) == 0 {
		f.access = []string{AccessPath}
		if f.origin != nil {
			f.access = []string{AccessPath, AccessHTTP}
		}
		config.KernelAccess = f.access
	}
	for _, access := range f.access {
		switch {
		case access != AccessPath && access != AccessHTTP:
			return nil, fmt.Errorf("%w: kernel access %q", ErrConfig, access)
		case access == AccessHTTP && f.origin == nil:
			return nil, fmt.Errorf("%w: kernel access by http without an origin", ErrConfig)
		}
	}
	for _, text := range config.TrustedKeys {
		var key minisign.PublicKey
		if err := key.UnmarshalText([]byte(text)); err != nil {
			return nil, fmt.Errorf("%w: trusted key %q: %w", ErrConfig, text, err)
		}
		f.keys = append(f.keys, key)
	}
	// No proxy: the token is for the origin alone.
	f.transport = &http.Transport{
		DisableCompression: true, MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute,
		TLSClientConfig: &tls.Config{RootCAs: config.Kernels.Authorities, MinVersion: tls.VersionTLS12},
	}
	f.client = &http.Client{
		Transport:     f.transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return f, nil
}

func (f *fetcher) close() { f.transport.CloseIdleConnections() }

func readOrigin(text string) (*url.URL, error) {
	origin, err := url.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%w: kernel origin: %w", ErrConfig, err)
	}
	if !isHTTP(origin) || origin.Host == "" || origin.User != nil || strings.Trim(origin.Path, "/") != "" ||
		origin.RawQuery != "" || origin.Fragment != "" {
		return nil, fmt.Errorf("%w: kernel origin %q is not scheme://host[:port]", ErrConfig, text)
	}
	return origin, nil
}

func isHTTP(u *url.URL) bool { return u.Scheme == "http" || u.Scheme == "https" }

// sameOrigin compares scheme, host and port, a missing port being the scheme's.
func sameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && portOf(a) == portOf(b)
}

func portOf(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	default:
		return "80"
	}
}

// content is the announced bytes of a kernel by the first way that has them, or
// what was wrong on the most promising one.
func (f *fetcher) content(ctx context.Context, k trainer.Kernel) ([]byte, trainer.AttachFailure, error) {
	worst, errs := trainer.AttachUnreachable, []error(nil)
	for _, access := range f.access {
		ref := k.Ref
		if access == AccessHTTP {
			ref = k.URL
		}
		if ref == "" {
			continue
		}
		content, failure, err := f.checked(ctx, access, ref, k.Checksum)
		if err == nil {
			return content, 0, nil
		}
		worst, errs = max(worst, failure), append(errs, err)
	}
	if len(errs) == 0 {
		errs = append(errs, fmt.Errorf("the kernel lies nowhere that can be reached by %v", f.access))
	}
	return nil, worst, errors.Join(errs...)
}

// checked reads a kernel and holds it against its checksum and the trusted keys.
func (f *fetcher) checked(ctx context.Context, access, ref, sum string) ([]byte, trainer.AttachFailure, error) {
	content, err := f.read(ctx, access, ref, f.most)
	if err != nil {
		return nil, trainer.AttachUnreachable, fmt.Errorf("read %q: %w", ref, err)
	}
	if got := kernel.Checksum(content); got != strings.ToLower(sum) {
		return nil, trainer.AttachMismatch, fmt.Errorf("read %q: announced is %q, the SHA-256 is %s", ref, sum, got)
	}
	if len(f.keys) == 0 {
		return content, 0, nil
	}
	signature, err := f.read(ctx, access, ref+signatureExtension, maxSignature)
	if err != nil {
		return nil, trainer.AttachUnsigned, fmt.Errorf("read the signature of %q: %w", ref, err)
	}
	message := minisign.NewReader(bytes.NewReader(content))
	_, _ = io.Copy(io.Discard, message) // a reader of bytes does not fail
	for _, key := range f.keys {
		if message.Verify(key, bytes.TrimSpace(signature)) {
			return content, 0, nil
		}
	}
	return nil, trainer.AttachUnsigned, fmt.Errorf("the signature of %q is of no trusted key", ref)
}

func (f *fetcher) read(ctx context.Context, access, ref string, most int64) ([]byte, error) {
	open := f.open
	if access == AccessPath {
		open = openFile
	}
	reader, err := open(ctx, ref)
	if err != nil {
		return nil, err
	}
	content, err := regularfile.ReadAll(reader, most)
	if err = errors.Join(err, reader.Close()); err != nil {
		return nil, err
	}
	return content, nil
}

func openFile(_ context.Context, ref string) (io.ReadCloser, error) {
	file, err := regularfile.Open(strings.TrimPrefix(ref, "file://"))
	if err != nil {
		return nil, err
	}
	return file, nil
}

// open asks the one origin for a file, without following it anywhere else.
func (f *fetcher) open(ctx context.Context, ref string) (io.ReadCloser, error) {
	target, err := url.Parse(ref)
	if err != nil {
		return nil, err
	}
	if f.origin == nil || !isHTTP(target) || target.User != nil || !sameOrigin(target, f.origin) {
		return nil, errors.New("not of the origin that this trainer takes kernels from")
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, err
	}
	if f.token != "" {
		request.Header.Set("Authorization", "Bearer "+f.token)
	}
	response, err := f.client.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, errors.Join(fmt.Errorf("answered %s", response.Status), response.Body.Close())
	}
	return response.Body, nil
}
