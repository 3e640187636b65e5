package urza_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/urza"
)

// A kernel is saved and then served to whoever asks for it on the bus.
func ExampleLibrary_Save() {
	dir, err := os.MkdirTemp("", "urza")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ctx := context.Background()
	library, err := urza.Open(ctx, urza.Config{
		DatabaseURL: "sqlite:///" + filepath.Join(dir, "catalog.db"),
		ArtifactDir: filepath.Join(dir, "artifacts"),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = library.Close() }()

	blueprint := &leyline.BlueprintDescriptor{BlueprintId: "BP001", Name: "identity_passthrough"}
	saved, err := library.Save(ctx, blueprint, []byte("an ONNX file"), nil, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	answer, _, err := urza.NewPrefetcher(library, urza.PrefetchConfig{}).Answer(ctx, &leyline.KernelPrefetchRequest{
		RequestId: "request-1", BlueprintId: "BP001",
	}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	if ready, ok := answer.(*leyline.KernelArtifactReady); ok {
		fmt.Println("ready:", ready.GetBlueprintId(), ready.GetChecksum() == saved.GetChecksum())
	}
	// Output: ready: BP001 true
}
