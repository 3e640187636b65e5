package interop_test

import (
	"bytes"
	"encoding/json"
	"net"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/esper-lite/weatherlight/signing"
)

const (
	secret = "shared-secrét"
	// python is Debian's: its modules belong to no other interpreter on the path.
	python   = "/usr/bin/python3"
	contract = "../../proto"
)

func keyring(t testing.TB) *signing.Keyring {
	t.Helper()
	ring, err := signing.NewKeyring(secret)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// pythonPeer runs testdata/peer.py with bindings made from the contract.
type pythonPeer struct {
	bindings, host, port string
}

func newPythonPeer(t *testing.T, addr string) pythonPeer {
	t.Helper()
	if output, err := exec.Command(python, "-c", "import redis, google.protobuf").CombinedOutput(); err != nil {
		t.Fatalf("apt-get install python3 python3-redis python3-protobuf: %v\n%s", err, output)
	}
	folder := t.TempDir()
	protoc := exec.Command("protoc", "--proto_path="+contract, "--python_out="+folder,
		filepath.Join(contract, "esper", "leyline", "v1", "leyline.proto"))
	if output, err := protoc.CombinedOutput(); err != nil {
		t.Fatalf("apt-get install protobuf-compiler libprotobuf-dev: %v\n%s", err, output)
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return pythonPeer{bindings: folder, host: host, port: port}
}

// run gives the peer lines of JSON and returns what it prints.
func (p pythonPeer) run(t *testing.T, what string, lines []any) []byte {
	t.Helper()
	var input bytes.Buffer
	encoder := json.NewEncoder(&input)
	for _, line := range lines {
		if err := encoder.Encode(line); err != nil {
			t.Fatal(err)
		}
	}
	peer := exec.Command(python, "testdata/peer.py", p.bindings, secret, what, p.host, p.port)
	var complaints bytes.Buffer
	peer.Stdin, peer.Stderr = &input, &complaints
	output, err := peer.Output()
	if err != nil {
		t.Fatalf("peer %s: %v\n%s", what, err, complaints.String())
	}
	return output
}

// decodeLines reads lines of JSON.
func decodeLines[T any](t *testing.T, output []byte) []T {
	t.Helper()
	var all []T
	for decoder := json.NewDecoder(bytes.NewReader(output)); decoder.More(); {
		var one T
		if err := decoder.Decode(&one); err != nil {
			t.Fatalf("%v in %s", err, output)
		}
		all = append(all, one)
	}
	return all
}

// collected gathers values from handlers.
type collected[T any] struct {
	mu  sync.Mutex
	all []T
}

func (c *collected[T]) add(v T) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, v)
	return len(c.all)
}
