package weatherlight

import (
	"context"
	"os"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/settings"
	"github.com/esper-lite/weatherlight/tezzeret"
	"github.com/esper-lite/weatherlight/tezzeret/forge"
	"github.com/esper-lite/weatherlight/urza"
)

// openConfigured opens the library of the settings.
func openConfigured(t *testing.T, resolved *settings.Settings) *urza.Library {
	t.Helper()
	config := LibraryConfig(resolved)
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
	config, err := ForgeConfig(resolved, library)
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
	config, err := ForgeConfig(resolved, library)
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
		service := surveying(t, resolved, openConfigured(t, resolved))
		got := candidateIDs(t, service)
		for _, id := range []string{"BP002", "BP036", "BP043"} {
			if chosen := slices.Contains(got, id); chosen != slices.Contains(want, id) {
				t.Errorf("permitted %t: %s is a candidate: %t", permitted, id, chosen)
			}
		}
		prefetcher := urza.NewPrefetcher(service.library, urza.PrefetchConfig{})
		for _, id := range []string{"BP002", "BP036", "BP043"} {
			_, ready := answer(t, prefetcher, id).(*leyline.KernelArtifactReady)
			if ready != slices.Contains(want, id) {
				t.Errorf("permitted %t: %s is ready: %t", permitted, id, ready)
			}
		}
	}
}

// surveying is a service as far as it looks for candidates.
func surveying(t *testing.T, resolved *settings.Settings, library *urza.Library) *Service {
	t.Helper()
	compiler, err := newCompiler(resolved)
	if err != nil {
		t.Fatal(err)
	}
	catalog := NewCatalog(resolved)
	return &Service{
		settings: resolved, library: library, catalog: catalog, surveyor: tezzeret.NewSurveyor(compiler, catalog.List),
	}
}

func candidateIDs(t *testing.T, service *Service) (ids []string) {
	t.Helper()
	candidates, err := service.candidates(t.Context(), service.settings.Tezzeret.SlotSizes())
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

func TestForgeTellsOfItselfOnce(t *testing.T) {
	redis := redistest.Start(t)
	r := start(t, newService(t, map[string]string{
		"REDIS_URL": redis.URL, "TEZZERET_FORGE_ON_START": "true", "TEZZERET_FEATURES": "2",
	}))
	<-r.Forged()
	if err := r.stop(t); err != nil {
		t.Fatal(err)
	}
	observer := connect(t, redis.URL, "nissa")
	ordinary := listen(t, observer, onTelemetry, "nissa", leyline.BusMessageType_BUS_MESSAGE_TYPE_TELEMETRY)
	urgent := listen(t, observer, onEmergency, "nissa", leyline.BusMessageType_BUS_MESSAGE_TYPE_TELEMETRY)
	eventually(t, "the last summary is heard", func() bool {
		return slices.ContainsFunc(summaries(ordinary), func(packet *leyline.TelemetryPacket) bool {
			return metricsOf(packet)["weatherlight.worker."+workerPrefetch+".running"] == 0
		})
	})
	told := []map[string]float64{}
	for _, packet := range slices.Concat(ordinary.packets(), urgent.packets()) {
		if packet.GetSourceSubsystem() == "tezzeret" {
			told = append(told, metricsOf(packet))
		}
	}
	if len(told) != 1 {
		t.Fatalf("%d packets of the forge", len(told))
	}
	for name := range r.forge.Metrics() {
		if _, there := told[0][name]; !there {
			t.Errorf("its packet lacks %s", name)
		}
	}
}
