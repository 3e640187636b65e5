package artifact

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/esper-lite/weatherlight/urza/internal/fault"
)

const (
	objectScheme    = "s3://"
	defaultEndpoint = "https://s3.amazonaws.com"
	// objectRetries bounds how often one request to the store is tried: the breaker
	// and the bus try again later, and a store that is back is noticed no sooner.
	objectRetries = 2
	// responseTimeout bounds the wait for the first byte of an answer.
	responseTimeout = 10 * time.Second
	probeObject     = ".probe"
)

// objectStore keeps artifacts below one prefix of an S3-compatible bucket.
type objectStore struct {
	client         minio.Core
	transport      *http.Transport
	bucket, prefix string
}

// openObjects connects to the store that the URL names and proves that it can be
// written to.
func openObjects(ctx context.Context, cfg Config) (*objectStore, error) {
	s, err := newObjects(cfg)
	if err != nil {
		return nil, err
	}
	probe := s.url(path.Join(s.prefix, probeObject))
	if err := s.put(ctx, probe, []byte("weatherlight")); err != nil {
		s.close()
		return nil, err
	}
	if err := s.remove(ctx, probe); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// Inspect asks the S3-compatible store of the configuration for what it holds, and
// changes nothing there.
func (c Config) Inspect(ctx context.Context) error {
	s, err := newObjects(c)
	if err != nil {
		return fmt.Errorf("artifact store: %w", err)
	}
	defer s.close()
	if err := s.ask(ctx); err != nil {
		return fmt.Errorf("artifact store: %w", s.explain(ctx, err))
	}
	return nil
}

// ask looks into the bucket.
func (s *objectStore) ask(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends a listing that is left early
	for object := range s.client.ListObjectsIter(ctx, s.bucket, minio.ListObjectsOptions{Prefix: s.folder(), MaxKeys: 1}) {
		return object.Err
	}
	return nil
}

// CheckURL says what is wrong with the object store of the configuration, without asking
// it anything.
func (c Config) CheckURL() error {
	if c.URL == "" {
		return nil
	}
	s, err := newObjects(c)
	if err == nil {
		s.close()
	}
	return err
}

func newObjects(cfg Config) (*objectStore, error) {
	address, err := url.Parse(cfg.URL)
	if err != nil || address.Scheme+"://" != objectScheme || address.Host == "" || address.User != nil {
		return nil, errors.New("want s3://bucket/prefix?endpoint=http://host:port&region=name, credentials apart")
	}
	options := address.Query()
	endpoint, err := url.Parse(cmp.Or(options.Get("endpoint"), defaultEndpoint))
	if err != nil || (endpoint.Scheme != "http" && endpoint.Scheme != "https") || endpoint.Host == "" || endpoint.User != nil {
		return nil, errors.New("the endpoint must be http://host:port or https://host:port, credentials apart")
	}
	if (cfg.AccessKey == "") != (cfg.SecretKey == "") {
		return nil, errors.New("access key and secret key must be given together")
	}
	secure := endpoint.Scheme == "https"
	transport, err := minio.DefaultTransport(secure)
	if err != nil {
		return nil, fmt.Errorf("object store: %w", err)
	}
	transport.ResponseHeaderTimeout = responseTimeout
	lookup := minio.BucketLookupAuto
	if options.Has("endpoint") {
		lookup = minio.BucketLookupPath // what stands behind an address of one's own
	}
	client, err := minio.NewCore(endpoint.Host, &minio.Options{
		Creds:  credentials.NewStaticV4(cfg.AccessKey, cfg.SecretKey, ""),
		Secure: secure, Transport: transport, BucketLookup: lookup, MaxRetries: objectRetries,
		Region: cmp.Or(options.Get("region"), "us-east-1"),
	})
	if err != nil {
		return nil, fmt.Errorf("object store: %w", err)
	}
	return &objectStore{
		client: *client, transport: transport,
		bucket: address.Host, prefix: strings.Trim(address.Path, "/"),
	}, nil
}

func (s *objectStore) url(key string) string { return objectScheme + s.bucket + "/" + key }

// key is the object behind a reference: only this bucket can be reached.
func (s *objectStore) key(ref string) (string, error) {
	key, found := strings.CutPrefix(ref, s.url(""))
	if !found || key == "" {
		return "", fmt.Errorf("%w: %s is not in bucket %q", fault.ErrUnreadable, ref, s.bucket)
	}
	return key, nil
}

// folder is what the keys of the library's own artifacts begin with.
func (s *objectStore) folder() string {
	if s.prefix == "" {
		return ""
	}
	return s.prefix + "/"
}

func (s *objectStore) ref(checksum, source string) string {
	return s.url(path.Join(s.prefix, artifactName(checksum, source)))
}

func (s *objectStore) put(ctx context.Context, ref string, content []byte) error {
	key, err := s.key(ref)
	if err != nil {
		return err
	}
	// One request, so that the object is there whole or not at all.
	options := minio.PutObjectOptions{DisableMultipart: true, ContentType: "application/octet-stream"}
	_, err = s.client.Client.PutObject(ctx, s.bucket, key, bytes.NewReader(content), int64(len(content)), options)
	if err != nil {
		return fmt.Errorf("write artifact %s: %w", ref, s.explain(ctx, err))
	}
	return nil
}

func (s *objectStore) open(ctx context.Context, ref string) (io.ReadCloser, error) {
	key, err := s.key(ref)
	if err != nil {
		return nil, err
	}
	content, _, _, err := s.client.GetObject(ctx, s.bucket, key, minio.GetObjectOptions{})
	if err != nil {
		return nil, fmt.Errorf("read artifact %s: %w", ref, s.explainRead(ctx, err))
	}
	return content, nil
}

func (s *objectStore) identify(ctx context.Context, ref string) (Identity, error) {
	key, err := s.key(ref)
	if err != nil {
		return Identity{}, err
	}
	info, err := s.client.StatObject(ctx, s.bucket, key, minio.StatObjectOptions{})
	if err != nil {
		return Identity{}, fmt.Errorf("look at artifact %s: %w", ref, s.explainRead(ctx, err))
	}
	return Identity{tag: info.ETag, Size: info.Size, Modified: info.LastModified.UnixNano()}, nil
}

// setAside copies before it removes: a crash in between leaves both.
func (s *objectStore) setAside(ctx context.Context, ref, sum string) (string, error) {
	key, err := s.key(ref)
	if err != nil {
		return "", err
	}
	if !strings.HasPrefix(key, s.folder()) || !movable(path.Base(key)) {
		return "", nil
	}
	target := path.Join(s.prefix, quarantineFolder, path.Base(key)+"."+sum)
	_, err = s.client.Client.CopyObject(ctx,
		minio.CopyDestOptions{Bucket: s.bucket, Object: target}, minio.CopySrcOptions{Bucket: s.bucket, Object: key})
	if err != nil {
		return "", fmt.Errorf("copy to quarantine: %w", s.explain(ctx, err))
	}
	return s.url(target), s.remove(ctx, ref)
}

func (s *objectStore) remove(ctx context.Context, ref string) error {
	key, err := s.key(ref)
	if err != nil {
		return err
	}
	if err := s.client.RemoveObject(ctx, s.bucket, key, minio.RemoveObjectOptions{}); err != nil {
		return fmt.Errorf("remove artifact %s: %w", ref, s.explain(ctx, err))
	}
	return nil
}

func (s *objectStore) list(ctx context.Context, visit func(ref string)) error {
	return s.visit(ctx, func(ref string, _ int64) { visit(ref) })
}

func (s *objectStore) visit(ctx context.Context, visit func(ref string, size int64)) error {
	prefix := s.folder()
	for object := range s.client.ListObjectsIter(ctx, s.bucket, minio.ListObjectsOptions{Prefix: prefix}) {
		if object.Err != nil {
			return fmt.Errorf("list artifacts: %w", s.explain(ctx, object.Err))
		}
		if artifactFile.MatchString(strings.TrimPrefix(object.Key, prefix)) {
			visit(s.url(object.Key), object.Size)
		}
	}
	return nil
}

// sweep has nothing to do: an interrupted upload leaves no object.
func (*objectStore) sweep(time.Time) (int, error) { return 0, nil }

func (s *objectStore) close() { s.transport.CloseIdleConnections() }

// explainRead is explain, but tells an object that is refused from a bucket that is.
func (s *objectStore) explainRead(ctx context.Context, err error) error {
	answer := minio.ToErrorResponse(err)
	switch {
	case answer.Code == minio.NoSuchKey || !refused(answer.StatusCode) || s.ask(ctx) != nil:
		return s.explain(ctx, err)
	default:
		return fmt.Errorf("%w: %w", fault.ErrUnreadable, err)
	}
}

// refused says that a request is no better for being repeated.
func refused(status int) bool {
	return status/100 == 4 && status != http.StatusRequestTimeout && status != http.StatusTooManyRequests
}

// explain turns the store's "no such key" into fs.ErrNotExist and everything else
// into fault.ErrUnavailable. Only the caller's own deadline may look like one.
func (s *objectStore) explain(ctx context.Context, err error) error {
	switch {
	case minio.ToErrorResponse(err).Code == minio.NoSuchKey:
		return fmt.Errorf("%w (%w)", fs.ErrNotExist, err)
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %w", fault.ErrUnavailable, ctx.Err())
	default:
		return fmt.Errorf("%w: %v", fault.ErrUnavailable, err) //nolint:errorlint // see above
	}
}
