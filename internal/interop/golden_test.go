package interop_test

import (
	"encoding/base64"
	"encoding/hex"
	"flag"
	"math/rand/v2"
	"os"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/internal/interop"
	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/signing"
)

var update = flag.Bool("update", false, "have Python sign the commands of testdata/command_signatures.bin anew")

const (
	goldenCommands   = 10_000
	goldenSignatures = "testdata/command_signatures.bin" // 32 bytes a command, as Python signed it
	signatureSize    = 32
)

// eachGolden visits random commands, the same in every run and on every machine.
func eachGolden(visit func(i int, command *leyline.AdaptationCommand)) {
	rng := rand.New(rand.NewPCG(14, 0))
	for i := range goldenCommands {
		command := new(leyline.AdaptationCommand)
		interop.Fill(rng, command)
		visit(i, command)
	}
}

// The file is made by testdata/peer.py, which signs with Python's own protobuf and hmac:
// go test ./internal/interop -run PythonsSignatures -update
func TestPythonsSignaturesOfTenThousandCommands(t *testing.T) {
	t.Parallel()
	if *update {
		signByPython(t)
	}
	signatures, err := os.ReadFile(goldenSignatures)
	if err != nil || len(signatures) != goldenCommands*signatureSize {
		t.Fatalf("%d bytes, %v", len(signatures), err)
	}
	ring := keyring(t)
	eachGolden(func(i int, command *leyline.AdaptationCommand) {
		python := base64.StdEncoding.EncodeToString(signatures[i*signatureSize : (i+1)*signatureSize])
		if command.Annotations == nil {
			command.Annotations = make(map[string]string)
		}
		command.Annotations[signing.SignatureAnnotation] = python
		if err := ring.VerifyCommand(command); err != nil {
			t.Errorf("command %d: as Python signed it: %v", i, err)
		}
		if err := ring.SignCommand(command); err != nil || command.Annotations[signing.SignatureAnnotation] != python {
			t.Errorf("command %d: we sign %s, Python %s, %v", i, command.Annotations[signing.SignatureAnnotation], python, err)
		}
	})
}

func signByPython(t *testing.T) {
	t.Helper()
	var lines []any
	eachGolden(func(_ int, command *leyline.AdaptationCommand) {
		wire, err := proto.Marshal(command)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, hex.EncodeToString(wire))
	})
	peer := newPythonPeer(t, redistest.Start(t).Addr)
	var signatures []byte
	for _, answer := range decodeLines[signedCommand](t, peer.run(t, "commands", lines)) {
		raw, err := base64.StdEncoding.DecodeString(answer.Signature)
		if err != nil {
			t.Fatal(err)
		}
		signatures = append(signatures, raw...)
	}
	if err := os.WriteFile(goldenSignatures, signatures, 0o644); err != nil { //nolint:gosec // for everybody
		t.Fatal(err)
	}
}
