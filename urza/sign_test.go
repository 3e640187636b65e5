package urza

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/internal/s3test"
)

// keyPair is made by Debian's minisign.
func keyPair(t *testing.T) (secretFile, publicFile string) {
	t.Helper()
	dir := t.TempDir()
	secretFile, publicFile = filepath.Join(dir, "urza.key"), filepath.Join(dir, "urza.pub")
	debianMinisign(t, "-G", "-W", "-p", publicFile, "-s", secretFile)
	return secretFile, publicFile
}

func debianMinisign(t *testing.T, args ...string) {
	t.Helper()
	program, err := exec.LookPath("minisign")
	if err != nil {
		t.Fatal("minisign not found: apt-get install minisign")
	}
	if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
		t.Fatalf("minisign %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

func TestDebiansMinisignVerifiesOurSignature(t *testing.T) {
	secretFile, publicFile := keyPair(t)
	cfg := testConfig(t.TempDir())
	cfg.SigningKeyFile = secretFile
	saved := save(t, openTest(t, cfg), "BP001", "kernel")
	debianMinisign(t, "-V", "-p", publicFile, "-m", saved.GetArtifactRef())
}

func TestOnlyTrustedKernelsAreServed(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, newConfig configFor) {
		secretFile, publicFile := keyPair(t)
		_, strangerFile := keyPair(t)
		cfg := newConfig(t.TempDir())
		save(t, openTest(t, cfg), "BP002", "unsigned")
		cfg.SigningKeyFile = secretFile
		saved := save(t, openTest(t, cfg), "BP001", "signed")

		cfg.TrustedKeys = []string{strangerFile, publicFile}
		trusting := openTest(t, cfg)
		wantReady(t, ask(t, NewPrefetcher(trusting, PrefetchConfig{}), "BP001"), saved.GetChecksum())
		if text, err := readArtifact(t, trusting, saved.GetArtifactRef()); text != "signed" || err != nil {
			t.Errorf("%q, %v", text, err)
		}
		wantRefused(t, ask(t, NewPrefetcher(trusting, PrefetchConfig{}), "BP002"), "missing_artifact")
		if has(t, trusting, "BP002") || !has(t, trusting, "BP001") {
			t.Error("the forge would not sign what is not signed, or would compile again what is")
		}

		cfg.TrustedKeys = []string{strangerFile}
		stranger := openTest(t, cfg)
		for range 3 {
			wantRefused(t, ask(t, NewPrefetcher(stranger, PrefetchConfig{}), "BP001"), "missing_artifact")
		}
		if _, err := readArtifact(t, stranger, saved.GetArtifactRef()); !errors.Is(err, ErrUntrusted) {
			t.Error(err)
		}
		if err := stranger.Verify(context.Background(), "BP001"); !errors.Is(err, ErrUntrusted) {
			t.Error(err)
		}
		if stranger.Stats().Untrusted == 0 || stranger.Stats().Damaged != 0 {
			t.Error(stranger.Stats())
		}
		// Nothing was set aside: the file is not damaged.
		wantReady(t, ask(t, NewPrefetcher(trusting, PrefetchConfig{}), "BP001"), saved.GetChecksum())
	})
}

func TestSignatureThatFollowsIsSeen(t *testing.T) {
	secretFile, publicFile := keyPair(t)
	cfg := testConfig(t.TempDir())
	key, err := os.ReadFile(publicFile)
	if err != nil {
		t.Fatal(err)
	}
	cfg.TrustedKeys = []string{strings.Split(string(key), "\n")[1]} // the key itself
	library := openTest(t, cfg)
	prefetcher := NewPrefetcher(library, PrefetchConfig{})
	saved := save(t, library, "BP001", "kernel")
	ref := saved.GetArtifactRef()
	settledFile(t, ref)
	for _, signature := range []string{"", "untrusted comment: nonsense\nAAAA\n"} {
		if signature != "" {
			if err := os.WriteFile(ref+".minisig", []byte(signature), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		wantRefused(t, ask(t, prefetcher, "BP001"), "missing_artifact")
	}
	debianMinisign(t, "-S", "-W", "-s", secretFile, "-m", ref)
	wantReady(t, ask(t, prefetcher, "BP001"), saved.GetChecksum())
}

func TestSignaturesLieInTheObjectStoreToo(t *testing.T) {
	secretFile, publicFile := keyPair(t)
	server := s3test.Start(t)
	cfg := objectConfig(server, testConfig(t.TempDir()))
	cfg.SigningKeyFile, cfg.TrustedKeys = secretFile, []string{publicFile}
	library := openTest(t, cfg)
	saved := save(t, library, "BP001", "kernel")
	wantReady(t, ask(t, NewPrefetcher(library, PrefetchConfig{}), "BP001"), saved.GetChecksum())
	if text, err := readArtifact(t, library, saved.GetArtifactRef()); text != "kernel" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	if keys := server.Keys("lib/v1/" + saved.GetChecksum()); len(keys) != 2 {
		t.Error(keys)
	}
}
