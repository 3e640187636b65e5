package interop_test

import (
	"encoding/hex"
	"math/rand/v2"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/internal/interop"
	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/signing"
)

// signedCommand is a command as the peer sees it; bytes are in hex.
type signedCommand struct {
	Signed    string `json:"signed"`
	Signature string `json:"signature"`
	Valid     bool   `json:"valid"`
	Wire      string `json:"wire"`
}

func TestPythonSignsTheSameBytesOfEveryCommand(t *testing.T) {
	t.Parallel()
	ring := keyring(t)
	rng := rand.New(rand.NewPCG(4, 0))
	commands := make([]*leyline.AdaptationCommand, 300)
	lines := make([]any, len(commands))
	for i := range commands {
		commands[i] = new(leyline.AdaptationCommand)
		interop.Fill(rng, commands[i])
		if err := ring.SignCommand(commands[i]); err != nil {
			t.Fatal(err)
		}
		wire, err := proto.Marshal(commands[i])
		if err != nil {
			t.Fatal(err)
		}
		lines[i] = hex.EncodeToString(wire)
	}
	peer := newPythonPeer(t, redistest.Start(t).Addr)
	answers := decodeLines[signedCommand](t, peer.run(t, "commands", lines))
	if len(answers) != len(commands) {
		t.Fatalf("%d answers to %d commands", len(answers), len(commands))
	}
	for i, answer := range answers {
		checkCommand(t, ring, commands[i], answer)
	}
}

func checkCommand(t *testing.T, ring *signing.Keyring, command *leyline.AdaptationCommand, python signedCommand) {
	t.Helper()
	signed, err := signing.CommandBytes(command)
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(signed); got != python.Signed {
		t.Errorf("signed bytes of %v\n    go %s\npython %s", command, got, python.Signed)
	}
	if ours := command.Annotations[signing.SignatureAnnotation]; ours != python.Signature || !python.Valid {
		t.Errorf("go signs %s, python %s and finds ours valid: %v", ours, python.Signature, python.Valid)
	}
	wire, err := hex.DecodeString(python.Wire)
	if err != nil {
		t.Fatal(err)
	}
	var received leyline.AdaptationCommand
	if err := proto.Unmarshal(wire, &received); err != nil {
		t.Fatal(err)
	}
	if err := ring.VerifyCommand(&received); err != nil {
		t.Errorf("a command signed by Python: %v", err)
	}
}
