package forge_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/karn"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tezzeret"
	"github.com/esper-lite/weatherlight/tezzeret/forge"
)

// memoryLibrary keeps kernels in memory and remembers the order of saves.
type memoryLibrary struct {
	mu      sync.Mutex
	saved   []string
	extras  map[string]map[string]any
	updates map[string]*leyline.KernelCatalogUpdate
	failHas error
	failFor map[string]error // save fails for these
}

func (l *memoryLibrary) Has(_ context.Context, id string) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Contains(l.saved, id), l.failHas
}

func (l *memoryLibrary) Save(ctx context.Context, d *leyline.BlueprintDescriptor, artifact []byte,
	update *leyline.KernelCatalogUpdate, extras map[string]any) (*leyline.KernelCatalogUpdate, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	id := d.GetBlueprintId()
	if err := l.failFor[id]; err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil || len(artifact) == 0 {
		return nil, fmt.Errorf("save %s: %d bytes: %w", id, len(artifact), err)
	}
	if l.extras == nil {
		l.extras = make(map[string]map[string]any)
		l.updates = make(map[string]*leyline.KernelCatalogUpdate)
	}
	l.saved, l.extras[id] = append(l.saved, id), extras
	stored := proto.CloneOf(update)
	stored.ArtifactRef = "/library/" + update.GetChecksum()
	l.updates[id] = stored
	return stored, nil
}

// stored is what a forge may ask of the library about one blueprint.
func (l *memoryLibrary) stored(_ context.Context, id string) (forge.StoredKernel, bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	digest, _ := l.extras[id]["build_digest"].(string)
	return forge.StoredKernel{BuildDigest: digest, Update: l.updates[id]}, slices.Contains(l.saved, id), l.failHas
}

func (l *memoryLibrary) ids() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.saved)
}

// compilable are the catalogue's safe and experimental blueprints.
func compilable() []*leyline.BlueprintDescriptor {
	return slices.DeleteFunc(karn.NewCatalog().List(), func(d *leyline.BlueprintDescriptor) bool {
		return d.GetTier() == leyline.BlueprintTier_BLUEPRINT_TIER_HIGH_RISK
	})
}

// blueprint is one that no catalogue lists.
func blueprint(id, name string) *leyline.BlueprintDescriptor {
	return &leyline.BlueprintDescriptor{BlueprintId: id, Name: name, Tier: leyline.BlueprintTier_BLUEPRINT_TIER_SAFE}
}

// find returns the compilable blueprint of a name.
func find(t *testing.T, name string) *leyline.BlueprintDescriptor {
	t.Helper()
	for _, d := range compilable() {
		if d.GetName() == name {
			return d
		}
	}
	t.Fatalf("no blueprint %s", name)
	return nil
}

// approvedCompiler compiles them all.
func approvedCompiler(features int) forge.Compiler {
	var approved []string
	for _, d := range compilable() {
		approved = append(approved, d.GetBlueprintId())
	}
	return tezzeret.NewCompiler(tezzeret.Config{Features: features, Approved: approved}).ForForge()
}

// scriptedCompiler does what a test says for some blueprints and compiles the
// others.
type scriptedCompiler struct {
	forge.Compiler
	script map[string]func(ctx context.Context) error

	mu    sync.Mutex
	calls []string // blueprint id and strategy of each attempt
}

func (s *scriptedCompiler) Compile(ctx context.Context, d *leyline.BlueprintDescriptor, conservative bool) (*forge.Kernel, error) {
	strategy := "standard"
	if conservative {
		strategy = "conservative"
	}
	if err := s.follow(ctx, d, strategy); err != nil {
		return nil, err
	}
	return s.Compiler.Compile(ctx, d, conservative)
}

func (s *scriptedCompiler) follow(ctx context.Context, d *leyline.BlueprintDescriptor, strategy string) error {
	s.mu.Lock()
	s.calls = append(s.calls, d.GetBlueprintId()+" "+strategy)
	s.mu.Unlock()
	if act := s.script[d.GetBlueprintId()]; act != nil {
		return act(ctx)
	}
	return nil
}

// always fails in the same way.
func always(err error) func(context.Context) error {
	return func(context.Context) error { return err }
}

// bench is a forge with doubles around it.
type bench struct {
	*forge.Forge
	library   *memoryLibrary
	compiler  *scriptedCompiler
	announced []*leyline.KernelCatalogUpdate
	progress  []forge.Progress
	busError  error
}

// newBench makes a forge over the blueprints; adjust changes its configuration.
func newBench(t *testing.T, blueprints []*leyline.BlueprintDescriptor, adjust func(*forge.Config)) *bench {
	t.Helper()
	b := &bench{library: &memoryLibrary{failFor: make(map[string]error)}}
	b.compiler = &scriptedCompiler{Compiler: approvedCompiler(32), script: make(map[string]func(context.Context) error)}
	config := forge.Config{
		Compiler:   b.compiler,
		Blueprints: func() []*leyline.BlueprintDescriptor { return blueprints },
		Library:    b.library,
		Announce: func(_ context.Context, update *leyline.KernelCatalogUpdate) error {
			if b.busError == nil {
				b.announced = append(b.announced, update)
			}
			return b.busError
		},
		Progress: func(p forge.Progress) { b.progress = append(b.progress, p) },
	}
	if adjust != nil {
		adjust(&config)
	}
	b.Forge = forge.New(config)
	return b
}

func (b *bench) announcedIDs() []string {
	var ids []string
	for _, u := range b.announced {
		ids = append(ids, u.GetBlueprintId())
	}
	return ids
}

func blueprintIDs(blueprints []*leyline.BlueprintDescriptor) []string {
	var ids []string
	for _, d := range blueprints {
		ids = append(ids, d.GetBlueprintId())
	}
	return ids
}

func jobIDs(jobs []forge.Job) []string {
	var ids []string
	for _, j := range jobs {
		ids = append(ids, j.BlueprintID)
	}
	return ids
}

func wantIDs(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}
