package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"

	"github.com/esper-lite/weatherlight/karn"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/urza"
)

// artifactSize is that of the kernels which the prototype's figures were
// measured with.
const artifactSize = 12 << 10

func databaseFile(folder string) string { return filepath.Join(folder, "urza", "catalog.db") }

func databaseURL(folder string) string { return "sqlite:///" + databaseFile(folder) }

func artifactDir(folder string) string { return filepath.Join(folder, "urza", "artifacts") }

// fillLibrary stores one kernel for each of the 50 blueprints and returns their
// checksums by blueprint.
func fillLibrary(ctx context.Context, folder string) (map[string]string, error) {
	library, err := openLibrary(ctx, folder)
	if err != nil {
		return nil, err
	}
	checksums := make(map[string]string)
	rng := rand.NewChaCha8([32]byte{})
	for _, blueprint := range karn.NewCatalog().List() {
		artifact := make([]byte, artifactSize)
		_, _ = rng.Read(artifact) // It never fails.
		update := &leyline.KernelCatalogUpdate{BlueprintId: blueprint.GetBlueprintId(), PrewarmMs: 20, CompileMs: 3}
		saved, err := library.Save(ctx, blueprint, artifact, update, nil)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("fill library: %w", err), library.Close())
		}
		checksums[blueprint.GetBlueprintId()] = saved.GetChecksum()
	}
	return checksums, library.Close()
}

func openLibrary(ctx context.Context, folder string) (*urza.Library, error) {
	library, err := urza.Open(ctx, urza.Config{DatabaseURL: databaseURL(folder), ArtifactDir: artifactDir(folder)})
	if err != nil {
		return nil, fmt.Errorf("open library: %w", err)
	}
	return library, nil
}
