package e2e

import (
	"encoding/json"
	"net"
	"os/exec"
	"testing"
)

// TestPythonPeerJoinsTheBus: another language, with nothing but its standard
// library, asks for a kernel and checks the signature of the answer.
func TestPythonPeerJoinsTheBus(t *testing.T) {
	begin(t)
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Fatal("python3 not found: apt-get install python3")
	}
	w := newWorld(t)
	w.bootForged()
	host, port, _ := net.SplitHostPort(w.redis.Addr)
	peer := exec.Command(python, "testdata/peer.py", host, port, secret, "from-python", compiled)
	output, err := peer.CombinedOutput()
	if err != nil {
		t.Fatalf("peer: %v\n%s", err, output)
	}
	var got struct {
		Kind        string `json:"kind"`
		RequestID   string `json:"request_id"`
		BlueprintID string `json:"blueprint_id"`
		Checksum    string `json:"checksum"`
		FileSum     string `json:"file_checksum"`
	}
	if err := json.Unmarshal(output, &got); err != nil {
		t.Fatalf("peer printed %q: %v", output, err)
	}
	want := w.kernels()[compiled].Checksum
	if got.Kind != "ready" || got.RequestID != "from-python" || got.BlueprintID != compiled ||
		got.Checksum != want || got.FileSum != want {
		t.Errorf("the peer got %+v, want checksum %s", got, want)
	}
}
