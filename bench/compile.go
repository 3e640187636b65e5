package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/esper-lite/weatherlight/karn"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tezzeret"
	"github.com/esper-lite/weatherlight/tezzeret/forge"
)

// measureCompile has a forge compile and store every blueprint that is safe or
// experimental.
func (b *bench) measureCompile(ctx context.Context) error {
	blueprints := karn.NewCatalog().List()
	blueprints = slices.DeleteFunc(blueprints, func(d *leyline.BlueprintDescriptor) bool {
		return d.GetTier() == leyline.BlueprintTier_BLUEPRINT_TIER_HIGH_RISK
	})
	number := 0
	return b.interleave([]turn{{ours, func(column string) error {
		number++
		begun := time.Now()
		err := compileAll(ctx, filepath.Join(b.folder, fmt.Sprintf("compile-%d", number)), blueprints)
		b.table.sample("kernel_compile_42_s", column, time.Since(begun).Seconds())
		return err
	}}}, func() error { return nil })
}

func compileAll(ctx context.Context, folder string, blueprints []*leyline.BlueprintDescriptor) error {
	library, err := openLibrary(ctx, folder)
	if err != nil {
		return err
	}
	var approved []string
	for _, d := range blueprints {
		approved = append(approved, d.GetBlueprintId())
	}
	pass := forge.New(forge.Config{
		Compiler:   tezzeret.NewCompiler(tezzeret.Config{Approved: approved}).ForForge(),
		Blueprints: func() []*leyline.BlueprintDescriptor { return blueprints },
		Library:    library,
	})
	err = pass.Run(ctx)
	if compiled := len(pass.Result().Compiled); err == nil && compiled != len(blueprints) {
		err = fmt.Errorf("%d of %d blueprints compiled", compiled, len(blueprints))
	}
	return errors.Join(err, library.Close())
}
