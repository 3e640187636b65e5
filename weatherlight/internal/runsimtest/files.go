package runsimtest

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/trainer"
)

// forge writes a kernel that a real graft can load, with a flaw or without, and
// returns where it lies and what is announced of it. Some files are not what is
// announced.
func (l *library) forge(name string, slot []int, flaw trainer.AttachFailure) (ref, checksum string) {
	content := []byte("no kernel at all")
	switch flaw {
	case trainer.AttachInvalid:
	case trainer.AttachMisfit:
		content = l.town.mixing(bodyWidth + 1)
	default:
		content = l.town.mixing(slot[len(slot)-1])
	}
	checksum = kernel.Checksum(content)
	if flaw == trainer.AttachMismatch {
		content = append(content, 0)
	}
	ref = filepath.Join(l.town.folder, strings.NewReplacer("/", "_", " ", "_", "=", "_").Replace(name)+".onnx")
	if err := os.WriteFile(ref, content, 0o600); err != nil {
		l.town.audit.violate("library: %v", err)
	}
	if flaw == trainer.AttachUnreachable {
		ref += ".gone"
	}
	return ref, checksum
}

// mixing is a kernel: tanh(host·w).
func (w *world) mixing(width int) []byte {
	b := kernel.NewBuilderFor("mixing", width)
	b.Init("w", w.normal(width, width))
	b.Node("MatMul", []string{"host", "w"}, "product")
	b.Node("Tanh", []string{"product"}, "seed")
	content, err := b.Bytes()
	if err != nil {
		return []byte(err.Error())
	}
	return content
}

// isWhat says whether a file has a checksum.
func isWhat(ref, checksum string) bool {
	content, err := os.ReadFile(ref)
	return err == nil && kernel.Checksum(content) == checksum
}
