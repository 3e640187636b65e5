package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/tamiyo"
	"github.com/esper-lite/weatherlight/tamiyo/policy/payloads"
)

// Who publishes is told what came of it, and of what no leader takes before it is sent.
func TestPublishSaysWhetherThePolicyWasTaken(t *testing.T) {
	d := newDesk(t)
	publish := func(content []byte, version string, flags ...string) (string, error) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "policy.onnx")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return run(t, append([]string{"policy", "publish", path, "--id", "p", "--policy-version", version}, flags...)...)
	}
	file := []byte("a file of some other form")
	digest := payloads.ReferTo(file).Checksum
	d.tells("policy_update_stored", `"digest":"`+digest+`"`)
	if said, err := publish(file, "v1"); err != nil || strings.TrimSpace(said) != digest {
		t.Errorf("said %q, %v", said, err)
	}
	d.tells("policy_update_rejected", `"reason":"version_mismatch"`)
	if said, err := publish(file, "v1"); err == nil || !strings.Contains(err.Error(), "refused: version_mismatch") || strings.Contains(said, digest) {
		t.Errorf("refused, and said %q, %v", said, err)
	}
	if said, err := publish(file, "v1", "--wait", "0s"); err != nil || strings.TrimSpace(said) != digest {
		t.Errorf("not waited for, and said %q, %v", said, err)
	}
	t.Setenv("REDIS_URL", "redis://127.0.0.1:1") // nothing is sent from here on
	library := filepath.Join(t.TempDir(), "kernels")
	t.Setenv("URZA_ARTIFACT_DIR", library)
	for name, row := range map[string]struct {
		content []byte
		version string
		reason  string
	}{
		"too large":        {bytes.Repeat([]byte("x"), 32<<20+1), "v1", "payload_too_large"},
		"the rules'":       {file, tamiyo.DefaultPolicyVersion, "version_mismatch"},
		"a long version":   {file, strings.Repeat("v", 129), "version_mismatch"},
		"without contents": {nil, "v1", "empty"},
	} {
		if _, err := publish(row.content, row.version); err == nil || !strings.Contains(err.Error(), row.reason) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := os.Stat(library); err == nil {
		t.Error("something was laid into the library")
	}
}
