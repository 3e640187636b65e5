package assembly_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/esper-lite/weatherlight/settings"
	"github.com/esper-lite/weatherlight/weatherlight/assembly"
)

// ExampleOpenLibrary opens the kernel library of a service, as its settings have it.
func ExampleOpenLibrary() {
	folder, err := os.MkdirTemp("", "library-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(folder)
	resolved, err := settings.Load(settings.Options{SecretOptional: true, EnvFile: os.DevNull, Environ: []string{
		"URZA_DATABASE_URL=sqlite:///" + filepath.Join(folder, "catalog.db"),
		"URZA_ARTIFACT_DIR=" + filepath.Join(folder, "artifacts"), "KARN_QUARANTINED=BP005",
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := assembly.Check(resolved); err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	library, err := assembly.OpenLibrary(ctx, assembly.Library(resolved))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = library.Close() }()
	kernels, err := library.Count(ctx)
	fmt.Println(kernels, "kernels of", len(assembly.Catalog(resolved).List()), "blueprints", err)
	// Output: 0 kernels of 50 blueprints <nil>
}
