package assembly

import (
	"context"
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/internal/s3test"
	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/settings"
	"github.com/esper-lite/weatherlight/tezzeret/forge"
	"github.com/esper-lite/weatherlight/urza"
	"github.com/esper-lite/weatherlight/weatherlight/internal/selection"
)

// openConfigured opens the library of the settings.
func openConfigured(t *testing.T, resolved *settings.Settings) *urza.Library {
	t.Helper()
	config := Library(resolved)
	config.SlowQuery = time.Minute // a busy machine is no failing database
	library, err := urza.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = library.Close() })
	return library
}

// forgeOnly compiles the given blueprints as the settings say.
func forgeOnly(t *testing.T, resolved *settings.Settings, library *urza.Library, ids ...string) forge.Result {
	t.Helper()
	config, err := Forge(resolved, library)
	if err != nil {
		t.Fatal(err)
	}
	all := config.Blueprints
	config.Blueprints = func() []*leyline.BlueprintDescriptor {
		return slices.DeleteFunc(all(), func(d *leyline.BlueprintDescriptor) bool {
			return !slices.Contains(ids, d.GetBlueprintId())
		})
	}
	pass := forge.New(config)
	if err := pass.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	return pass.Result()
}

func blueprintsOf(jobs []forge.Job) (ids []string) {
	for _, job := range jobs {
		ids = append(ids, job.BlueprintID)
	}
	slices.Sort(ids)
	return ids
}

func TestForgeCompilesForTheHostsSlotWhatTheSettingsPermit(t *testing.T) {
	resolved := loadSettings(t, map[string]string{
		"TEZZERET_SLOT":         "4x6x5",
		"KARN_APPROVED":         "BP036",
		"KARN_QUARANTINED":      "BP005",
		"KARN_QUARANTINE_GRANT": "BP043",
	})
	library := openConfigured(t, resolved)
	result := forgeOnly(t, resolved, library, "BP001", "BP005", "BP013", "BP031", "BP036", "BP037", "BP038", "BP043", "BP044")
	// BP037 is no experiment; an image has no time for BP031.
	if got, want := blueprintsOf(result.Compiled), []string{"BP001", "BP013", "BP036", "BP043"}; !slices.Equal(got, want) {
		t.Errorf("compiled %v, want %v", got, want)
	}
	if got, want := blueprintsOf(result.Refused), []string{"BP005", "BP031", "BP037", "BP038", "BP044"}; !slices.Equal(got, want) {
		t.Errorf("refused %v, want %v", got, want)
	}
	for _, id := range blueprintsOf(result.Compiled) {
		record, err := library.Get(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		file, err := os.ReadFile(record.ArtifactRef)
		if err != nil {
			t.Fatal(err)
		}
		loaded, err := kernel.Load(file)
		if err != nil {
			t.Fatal(err)
		}
		if shape := loaded.Input().Shape; !slices.Equal(shape, []int{-1, 4, 6, 5}) {
			t.Errorf("%s takes %v", id, shape)
		}
	}
}

func TestForgeOfTheToolAndOfTheServiceShareOneJournal(t *testing.T) {
	resolved := loadSettings(t, nil)
	library := openConfigured(t, resolved)
	forgeOnly(t, resolved, library, "BP001")
	config, err := Forge(resolved, library)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(config.JournalPath); err != nil {
		t.Error(err)
	}
	if again := forgeOnly(t, resolved, library, "BP001"); len(again.Present) != 1 || len(again.Compiled) != 0 {
		t.Errorf("%+v", again)
	}
}

// A kernel that was compiled under a permission is of no use once it is taken back.
func TestPermissionTakenBackTakesTheKernelOutOfUse(t *testing.T) {
	granted := map[string]string{"KARN_APPROVED": "BP036", "KARN_QUARANTINE_GRANT": "BP043"}
	resolved := loadSettings(t, granted)
	library := openConfigured(t, resolved)
	forgeOnly(t, resolved, library, "BP002", "BP036", "BP043")
	for _, permitted := range []bool{true, false} {
		want := []string{"BP002", "BP036", "BP043"}
		if !permitted {
			resolved.Karn, want = settings.Karn{}, want[:1]
		}
		library := openConfigured(t, resolved)
		got := candidateIDs(t, resolved, library)
		for _, id := range []string{"BP002", "BP036", "BP043"} {
			if chosen := slices.Contains(got, id); chosen != slices.Contains(want, id) {
				t.Errorf("permitted %t: %s is a candidate: %t", permitted, id, chosen)
			}
		}
		prefetcher := urza.NewPrefetcher(library, urza.PrefetchConfig{})
		for _, id := range []string{"BP002", "BP036", "BP043"} {
			_, ready := answer(t, prefetcher, id).(*leyline.KernelArtifactReady)
			if ready != slices.Contains(want, id) {
				t.Errorf("permitted %t: %s is ready: %t", permitted, id, ready)
			}
		}
	}
}

// selecting selects from what the settings describe.
func selecting(t *testing.T, resolved *settings.Settings, library *urza.Library) *selection.Selection {
	t.Helper()
	compiler, err := Compiler(resolved)
	if err != nil {
		t.Fatal(err)
	}
	catalog := Catalog(resolved)
	return selection.New(selection.Config{
		Catalog: catalog, Compiler: compiler, Library: library,
		OwnSlot: resolved.Tezzeret.SlotSizes(),
	})
}

func candidateIDs(t *testing.T, resolved *settings.Settings, library *urza.Library) (ids []string) {
	t.Helper()
	candidates, err := selecting(t, resolved, library).Candidates(t.Context(), "run", resolved.Tezzeret.SlotSizes())
	if err != nil {
		t.Fatal(err)
	}
	for _, candidate := range candidates {
		ids = append(ids, candidate.BlueprintID)
	}
	return ids
}

func answer(t *testing.T, prefetcher *urza.Prefetcher, id string) proto.Message {
	t.Helper()
	request := &leyline.KernelPrefetchRequest{RequestId: "ask " + id, BlueprintId: id}
	answered, _, err := prefetcher.Answer(context.Background(), request, nil)
	if err != nil {
		t.Fatal(err)
	}
	return answered
}

// A kernel that cannot be read is left as it is, and the others are made.
func TestR29KernelThatCannotBeReadDoesNotStopTheForge(t *testing.T) {
	resolved := loadSettings(t, nil)
	config := Library(resolved)
	config.ArtifactURL = s3test.Start(t).ArtifactURL("lib")
	config.S3AccessKey, config.S3SecretKey = s3test.AccessKey, s3test.SecretKey
	elsewhere, err := urza.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	_, err = elsewhere.Save(t.Context(), &leyline.BlueprintDescriptor{BlueprintId: "BP001"}, []byte("kernel"), nil, nil)
	if err := errors.Join(err, elsewhere.Close()); err != nil {
		t.Fatal(err)
	}
	result := forgeOnly(t, resolved, openConfigured(t, resolved), "BP001", "BP002") // it knows of no object store
	if got := blueprintsOf(result.Compiled); !slices.Equal(got, []string{"BP002"}) {
		t.Errorf("compiled %v", got)
	}
}
