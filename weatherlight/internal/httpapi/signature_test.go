package httpapi

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"aead.dev/minisign"

	"github.com/esper-lite/weatherlight/internal/s3test"
	"github.com/esper-lite/weatherlight/urza"
)

// signingKey is a file with a minisign secret key, and the public one.
func signingKey(t *testing.T) (string, minisign.PublicKey) {
	t.Helper()
	public, private, err := minisign.GenerateKey(rand.Reader)
	text, failed := private.MarshalText()
	path := filepath.Join(t.TempDir(), "urza.key")
	if err := errors.Join(err, failed, os.WriteFile(path, text, 0o600)); err != nil {
		t.Fatal(err)
	}
	return path, public
}

// A trainer that trusts keys of its own asks for the signature beside the kernel.
func TestSignatureOfAKernelIsServedBesideIt(t *testing.T) {
	for name, change := range map[string]func(*urza.Config){
		"folder": func(*urza.Config) {},
		"bucket": func(cfg *urza.Config) {
			cfg.ArtifactURL = s3test.Start(t).ArtifactURL("kernels")
			cfg.S3AccessKey, cfg.S3SecretKey = s3test.AccessKey, s3test.SecretKey
		},
	} {
		t.Run(name, func(t *testing.T) {
			key, public := signingKey(t)
			library := openLibrary(t, func(cfg *urza.Config) { change(cfg); cfg.SigningKeyFile = key })
			server := serve(t, newKernels(library, slog.New(slog.DiscardHandler)))
			path := "/kernels/" + save(t, library, "BP001", large).GetChecksum()
			got := request(t, server, http.MethodGet, path+".minisig")
			message := minisign.NewReader(bytes.NewReader(large))
			if _, err := io.Copy(io.Discard, message); err != nil {
				t.Fatal(err)
			}
			if got.code != http.StatusOK || !message.Verify(public, got.body) {
				t.Errorf("%d %q does not verify", got.code, got.body)
			}
			if control := got.header.Get("Cache-Control"); control != "no-cache" {
				t.Errorf("Cache-Control %q: a kernel may be signed anew", control)
			}
			head := request(t, server, http.MethodHead, path+".minisig")
			if head.code != http.StatusOK || len(head.body) != 0 || head.header.Get("Content-Length") != got.header.Get("Content-Length") {
				t.Errorf("HEAD: %d %v", head.code, head.header)
			}
		})
	}
}

func TestKernelWithoutASignatureHasNone(t *testing.T) {
	library := openLibrary(t, func(*urza.Config) {})
	server := serve(t, newKernels(library, slog.New(slog.DiscardHandler)))
	sum := save(t, library, "BP001", large).GetChecksum()
	aside := save(t, library, "BP002", []byte("set aside")).GetChecksum()
	if err := library.SetAside(t.Context(), "BP002", ""); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{
		"unsigned": sum + ".minisig", "set aside": aside + ".minisig", "unknown": strings.Repeat("0", 64) + ".minisig",
		"signature of a signature": sum + ".minisig.minisig", "no checksum": "x.minisig", "nothing": ".minisig",
	} {
		if got := request(t, server, http.MethodGet, "/kernels/"+path); got.code != http.StatusNotFound {
			t.Errorf("%s: %d %q", name, got.code, got.body)
		}
	}
}
