package httpapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/esper-lite/weatherlight/internal/s3test"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
	"github.com/esper-lite/weatherlight/urza"
)

// large is more than the handler holds in memory at a time.
var large = bytes.Repeat([]byte("0123456789abcdef"), 20_000)

func openLibrary(t *testing.T, change func(*urza.Config)) *urza.Library {
	t.Helper()
	dir := t.TempDir()
	cfg := urza.Config{
		DatabaseURL: "sqlite:///" + filepath.Join(dir, "catalog.db"),
		ArtifactDir: filepath.Join(dir, "artifacts"),
		Revalidate:  -1,
	}
	change(&cfg)
	library, err := urza.Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := library.Close(); err != nil {
			t.Error(err)
		}
	})
	return library
}

func descriptor(id string) *leyline.BlueprintDescriptor {
	return &leyline.BlueprintDescriptor{BlueprintId: id, Name: "x", Tier: leyline.BlueprintTier_BLUEPRINT_TIER_SAFE}
}

func save(t *testing.T, library *urza.Library, id string, content []byte) *leyline.KernelCatalogUpdate {
	t.Helper()
	saved, err := library.Save(context.Background(), descriptor(id), content, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return saved
}

func serve(t *testing.T, handler http.Handler) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server
}

type reply struct {
	code   int
	header http.Header
	body   []byte
	err    error // of reading the body
}

func request(t *testing.T, server *httptest.Server, method, path string, header ...string) reply {
	t.Helper()
	asked, err := http.NewRequestWithContext(context.Background(), method, server.URL+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		asked.Header.Set(header[i], header[i+1])
	}
	response, err := server.Client().Do(asked)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return reply{response.StatusCode, response.Header, body, err}
}

// A path is good on the service's machine alone.
func TestR6TrainerOfAnotherMachineFetchesItsKernel(t *testing.T) {
	for name, change := range map[string]func(*urza.Config){
		"folder": func(*urza.Config) {},
		"bucket": func(cfg *urza.Config) {
			cfg.ArtifactURL = s3test.Start(t).ArtifactURL("kernels")
			cfg.S3AccessKey, cfg.S3SecretKey = s3test.AccessKey, s3test.SecretKey
		},
	} {
		t.Run(name, func(t *testing.T) {
			library := openLibrary(t, change)
			own := save(t, library, "BP001", large)
			forged := urza.Forged{Descriptor: descriptor("BP001"), Artifact: []byte("for another slot")}
			variant, err := library.SaveVariant(context.Background(), trainer.Variant{Slot: []int{7}}, forged)
			if err != nil {
				t.Fatal(err)
			}
			server := serve(t, newKernels(library, slog.New(slog.DiscardHandler)))
			for sum, content := range map[string][]byte{own.GetChecksum(): large, variant.GetChecksum(): forged.Artifact} {
				got := request(t, server, http.MethodGet, "/kernels/"+sum)
				if got.code != http.StatusOK || got.err != nil || !bytes.Equal(got.body, content) {
					t.Errorf("%s: %d, %d bytes, %v", sum, got.code, len(got.body), got.err)
				}
				for key, want := range map[string]string{
					"Content-Type":   "application/octet-stream",
					"Content-Length": strconv.Itoa(len(content)),
					"ETag":           `"` + sum + `"`,
					"Cache-Control":  "public, max-age=31536000, immutable",
					"Accept-Ranges":  "none",
				} {
					if got.header.Get(key) != want {
						t.Errorf("%s: %q, want %q", key, got.header.Get(key), want)
					}
				}
			}
		})
	}
}

func TestKernelsAnswer(t *testing.T) {
	ctx := context.Background()
	library := openLibrary(t, func(*urza.Config) {})
	sum := save(t, library, "BP001", large).GetChecksum()
	aside := save(t, library, "BP002", []byte("set aside")).GetChecksum()
	if err := library.SetAside(ctx, "BP002", ""); err != nil {
		t.Fatal(err)
	}
	damaged := save(t, library, "BP003", []byte("damaged"))
	if err := os.WriteFile(damaged.GetArtifactRef(), []byte("dAmaged"), 0o644); err != nil {
		t.Fatal(err)
	}
	missing := save(t, library, "BP004", []byte("missing"))
	if err := os.Remove(missing.GetArtifactRef()); err != nil {
		t.Fatal(err)
	}
	server := serve(t, newKernels(library, slog.New(slog.DiscardHandler)))
	for _, c := range []struct {
		name, method, path string
		header             []string
		code, body         int
	}{
		{"head", http.MethodHead, "/kernels/" + sum, nil, 200, 0},
		{"known already", http.MethodGet, "/kernels/" + sum, []string{"If-None-Match", `"` + sum + `"`}, 304, 0},
		{"known among others", http.MethodGet, "/kernels/" + sum, []string{"If-None-Match", `"x", W/"` + sum + `"`}, 304, 0},
		{"another is known", http.MethodGet, "/kernels/" + sum, []string{"If-None-Match", `"x"`}, 200, len(large)},
		{"range is not served", http.MethodGet, "/kernels/" + sum, []string{"Range", "bytes=1-2"}, 200, len(large)},
		{"post", http.MethodPost, "/kernels/" + sum, nil, 405, -1},
		{"delete", http.MethodDelete, "/kernels/" + sum, nil, 405, -1},
		{"unknown", http.MethodGet, "/kernels/" + strings.Repeat("0", 64), nil, 404, -1},
		{"upper case", http.MethodGet, "/kernels/" + strings.ToUpper(sum), nil, 404, -1},
		{"no checksum", http.MethodGet, "/kernels/", nil, 404, -1},
		{"path out of the folder", http.MethodGet, "/kernels/..%2f..%2fetc%2fpasswd", nil, 404, -1},
		{"below a kernel", http.MethodGet, "/kernels/" + sum + "/x", nil, 404, -1},
		{"set aside", http.MethodGet, "/kernels/" + aside, nil, 404, -1},
		{"set aside and known already", http.MethodGet, "/kernels/" + aside, []string{"If-None-Match", `"` + aside + `"`}, 404, -1},
		{"damaged", http.MethodGet, "/kernels/" + damaged.GetChecksum(), nil, 404, -1},
		{"damaged, known to be", http.MethodHead, "/kernels/" + damaged.GetChecksum(), nil, 404, 0},
		{"file is gone", http.MethodGet, "/kernels/" + missing.GetChecksum(), nil, 404, -1},
	} {
		got := request(t, server, c.method, c.path, c.header...)
		if got.code != c.code || got.err != nil || c.body >= 0 && len(got.body) != c.body {
			t.Errorf("%s: %d, %d bytes, %v; want %d, %d", c.name, got.code, len(got.body), got.err, c.code, c.body)
		}
		if got.code >= 400 && (got.header.Get("Cache-Control") != "no-store" || got.header.Get("ETag") != "") {
			t.Errorf("%s: a refusal may be kept: %v", c.name, got.header)
		}
	}
	if err := library.Release(ctx, "BP002"); err != nil {
		t.Fatal(err)
	}
	if got := request(t, server, http.MethodGet, "/kernels/"+aside); got.code != http.StatusOK {
		t.Errorf("released: %d", got.code)
	}
}

// doubles is a library that answers what it is told to.
type doubles struct {
	open func(ctx context.Context) (io.ReadCloser, int64, error)
}

func (d doubles) Signature(ctx context.Context, _ string) ([]byte, error) {
	content, _, err := d.open(ctx)
	if err != nil {
		return nil, err
	}
	defer content.Close()
	return io.ReadAll(content)
}

func (d doubles) OpenChecksum(ctx context.Context, _ string) (io.ReadCloser, int64, error) {
	return d.open(ctx)
}

func TestLibraryThatDoesNotAnswerIsTriedAgain(t *testing.T) {
	anySum := "/kernels/" + strings.Repeat("0", 64)
	for _, err := range []error{fmt.Errorf("x: %w", urza.ErrUnavailable), context.DeadlineExceeded, errors.New("secret path")} {
		open := func(context.Context) (io.ReadCloser, int64, error) { return nil, 0, err }
		for _, path := range []string{anySum, anySum + ".minisig"} {
			got := request(t, serve(t, newKernels(doubles{open}, slog.New(slog.DiscardHandler))), http.MethodGet, path)
			if got.code != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" || strings.Contains(string(got.body), "secret") {
				t.Errorf("%s, %v: %d %v %q", path, err, got.code, got.header, got.body)
			}
		}
	}
}

// A kernel that proves to be damaged at its end must not look whole to anybody.
func TestKernelThatIsDamagedMeanwhileIsCutOff(t *testing.T) {
	for _, size := range []int{0, 1, 64<<10 - 1, 64 << 10, 64<<10 + 1, 1 << 20} {
		for _, failure := range []error{urza.ErrChecksumMismatch, io.ErrUnexpectedEOF} {
			open := func(context.Context) (io.ReadCloser, int64, error) {
				content := io.MultiReader(bytes.NewReader(make([]byte, size)), iotest.ErrReader(failure))
				return io.NopCloser(content), int64(size), nil
			}
			got := request(t, serve(t, newKernels(doubles{open}, slog.New(slog.DiscardHandler))), http.MethodGet, "/kernels/"+strings.Repeat("0", 64))
			if got.code == http.StatusOK && got.err == nil {
				t.Errorf("%d bytes, %v: came through whole", size, failure)
			}
		}
	}
}

func TestOnlySoManyKernelsAreSentAtATime(t *testing.T) {
	release := make(chan struct{})
	var started sync.WaitGroup
	started.Add(64)
	open := func(context.Context) (io.ReadCloser, int64, error) {
		started.Done()
		<-release
		return io.NopCloser(strings.NewReader("kernel")), 6, nil
	}
	server := serve(t, newKernels(doubles{open}, slog.New(slog.DiscardHandler)))
	path := "/kernels/" + strings.Repeat("0", 64)
	var group sync.WaitGroup
	for range 64 {
		group.Go(func() {
			if got := request(t, server, http.MethodGet, path); got.code != http.StatusOK || string(got.body) != "kernel" {
				t.Errorf("%d %q", got.code, got.body)
			}
		})
	}
	started.Wait()
	if got := request(t, server, http.MethodGet, path); got.code != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" {
		t.Errorf("one too many: %d", got.code)
	}
	close(release)
	group.Wait()
}

func address(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 9180} }

func TestAdvertisedAddress(t *testing.T) {
	for _, c := range []struct {
		name, configured string
		listener         net.Addr
		want             string
		local            bool
	}{
		{"own address", "", address("192.0.2.7"), "http://192.0.2.7:9180", false},
		{"own address of IPv6", "", address("2001:db8::1"), "http://[2001:db8::1]:9180", false},
		{"loopback", "", address("127.0.0.1"), "http://127.0.0.1:9180", true},
		{"all addresses", "", address("::"), "http://127.0.0.1:9180", true},
		{"configured", "https://kernels.example/esper/", address("127.0.0.1"), "https://kernels.example/esper", false},
		{"configured without a listener", "http://h:1", nil, "http://h:1", false},
		{"configured for this machine", "http://LocalHost:9180", address("0.0.0.0"), "http://LocalHost:9180", true},
		{"configured for no machine", "http://0.0.0.0:9180", nil, "http://0.0.0.0:9180", true},
		{"nothing is served", "", nil, "", true},
	} {
		got := Advertised(c.configured, "http", c.listener)
		if got != c.want || LocalOnly(got) != c.local {
			t.Errorf("%s: %q, local %t", c.name, got, LocalOnly(got))
		}
	}
	if got := Advertised("", "https", address("192.0.2.7")); got != "https://192.0.2.7:9180" {
		t.Errorf("with a certificate: %q", got)
	}
}

// FuzzKernelPath: no path makes the handler fail or serve what is no kernel.
func FuzzKernelPath(f *testing.F) {
	for _, path := range []string{"", "x", "../../etc/passwd", strings.Repeat("0", 64), strings.Repeat("0", 64) + ".minisig", strings.Repeat("0", 64) + "/", "\x00"} {
		f.Add(path, `"x"`)
	}
	open := func(context.Context) (io.ReadCloser, int64, error) {
		return io.NopCloser(strings.NewReader("kernel")), 6, nil
	}
	handler := newKernels(doubles{open}, slog.New(slog.DiscardHandler))
	f.Fuzz(func(t *testing.T, path, tag string) {
		asked := httptest.NewRequest(http.MethodGet, "/kernels/", http.NoBody)
		asked.URL.Path = "/kernels/" + path
		asked.Header.Set("If-None-Match", tag)
		got := httptest.NewRecorder()
		handler.ServeHTTP(got, asked)
		sum := strings.TrimSuffix(path, ".minisig")
		form := len(sum) == 64 && strings.Trim(sum, "0123456789abcdef") == ""
		if form != (got.Code == http.StatusOK || got.Code == http.StatusNotModified) {
			t.Errorf("%q: %d", path, got.Code)
		}
	})
}
