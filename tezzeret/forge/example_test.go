package forge_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/esper-lite/weatherlight/karn"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tezzeret"
	"github.com/esper-lite/weatherlight/tezzeret/forge"
)

// shelf is a library in memory.
type shelf map[string]int // blueprints, with the bytes of their kernels

func (s shelf) Has(_ context.Context, blueprintID string) (bool, error) {
	_, has := s[blueprintID]
	return has, nil
}

func (s shelf) Save(
	_ context.Context, blueprint *leyline.BlueprintDescriptor, artifact []byte, update *leyline.KernelCatalogUpdate, _ map[string]any,
) (*leyline.KernelCatalogUpdate, error) {
	s[blueprint.GetBlueprintId()] = len(artifact)
	return update, nil
}

// ExampleForge_Run goes over three blueprints twice: what the library has is not compiled again.
func ExampleForge_Run() {
	ctx, library := context.Background(), shelf{}
	pass := forge.New(forge.Config{
		Compiler: tezzeret.NewCompiler(tezzeret.Config{Features: 8}).ForForge(),
		Blueprints: func() []*leyline.BlueprintDescriptor {
			return karn.NewCatalog().List()[:3]
		},
		Library: library,
		Announce: func(_ context.Context, update *leyline.KernelCatalogUpdate) error {
			fmt.Println("announced", update.GetBlueprintId())
			return nil
		},
	})
	err := pass.Run(ctx)
	fmt.Println("compiled:", len(pass.Result().Compiled), "present:", len(pass.Result().Present))
	err = errors.Join(err, pass.Run(ctx))
	fmt.Println("compiled:", len(pass.Result().Compiled), "present:", len(pass.Result().Present))
	fmt.Println("in the library:", len(library), err)
	// Output:
	// announced BP001
	// announced BP002
	// announced BP003
	// compiled: 3 present: 0
	// compiled: 0 present: 3
	// in the library: 3 <nil>
}
