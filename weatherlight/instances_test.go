package weatherlight

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/internal/cadence"
	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona/lease"
	"github.com/esper-lite/weatherlight/weatherlight/internal/maintenance"
)

// twoInstances are two services on one Redis and one kernel library, and a trainer.
// The first leads.
func twoInstances(t *testing.T) (leader *running, host *garden) {
	t.Helper()
	dir := t.TempDir()
	common := map[string]string{
		"REDIS_URL":         redistest.Start(t).URL,
		"URZA_DATABASE_URL": "sqlite:///" + filepath.Join(dir, "catalog.db"),
		"URZA_ARTIFACT_DIR": filepath.Join(dir, "artifacts"),
	}
	named := func(name string) map[string]string {
		extra := maps.Clone(common)
		extra["WEATHERLIGHT_INSTANCE"] = name
		return extra
	}
	leader = start(t, newService(t, named("leader")))
	host = newGardenWith(t, "BP002", named("host"))
	if !leader.fleet.leads() || host.fleet.leads() {
		t.Fatal("the first instance does not lead")
	}
	return leader, host
}

// Commands, reports, kernel requests and answers are taken by either instance.
func TestTwoInstancesGrowTheSeedsOfOneRun(t *testing.T) {
	leader, host := twoInstances(t)
	const seeds = 12
	for i := range seeds {
		host.command(fmt.Sprint("germinate-", i), fmt.Sprint("seed-", i), leyline.SeedOperation_SEED_OP_GERMINATE)
	}
	trained := make(map[int]bool) // whatever becomes of it later
	host.until("every seed trains or is further", func() bool {
		for i := range seeds {
			stage := host.stage(fmt.Sprint("seed-", i))
			if stage >= leyline.SeedLifecycleStage_SEED_STAGE_TRAINING && stage <= leyline.SeedLifecycleStage_SEED_STAGE_FOSSILIZED {
				trained[i] = true
			}
		}
		return len(trained) == seeds
	})
	host.command("cull", "seed-3", leyline.SeedOperation_SEED_OP_CULL)
	host.until("seed-3 is culled", func() bool {
		return host.stage("seed-3") == leyline.SeedLifecycleStage_SEED_STAGE_EMBARGOED
	})
	for _, r := range []*running{leader, host.running} {
		if drops := r.bus.Drops(); len(drops) != 0 {
			t.Errorf("%s refused %v", r.instance(), drops)
		}
		if err := r.stop(t); err != nil {
			t.Error(err)
		}
	}
}

// The capabilities of a shared library are written by one instance, for the
// seeds of all.
func TestCapabilitiesOfAnotherInstancesSeedsAreWritten(t *testing.T) {
	leader, host := twoInstances(t)
	host.blend("seed-1")
	eventually(t, "the leader knows what blends", func() bool {
		_, blending, err := leader.knownSeeds(t.Context())
		return err == nil && slices.Equal(blending["BP002"], []string{"seed-1"})
	})
	if _, err := host.asKeeper(host.fanOutCapabilities)(t.Context()); err == nil {
		t.Error("both instances look after one library")
	}
	result, err := leader.asKeeper(leader.fanOutCapabilities)(t.Context())
	if err != nil || result["changed"] != 1 {
		t.Errorf("fan-out %v, %v", result, err)
	}
	record, err := host.library.Get(t.Context(), "BP002")
	if err != nil || !grants(record.Extras["graph_metadata"]) {
		t.Errorf("the library grants nothing: %v, %v", record.Extras["graph_metadata"], err)
	}
	// A leader that was must not write any more.
	deposed := leader.fleet.lease.(*lease.Lease)
	eventually(t, "the other instance leads", func() bool {
		if err := deposed.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		return host.fleet.beat(t.Context()) == nil && host.fleet.leads()
	})
	if _, err := leader.fanOutCapabilities(t.Context()); err == nil && leader.fleet.leads() {
		t.Error("a leader whose lease is over wrote capabilities")
	}
	for _, r := range []*running{leader, host.running} {
		if err := r.stop(t); err != nil {
			t.Error(err)
		}
	}
}

func TestSingleJobsAreDoneByOneInstance(t *testing.T) {
	leader, host := twoInstances(t)
	both := []*running{leader, host.running}
	for _, r := range both {
		r.chores.Round(t.Context())
	}
	own := map[string]float64{"memory": 1}
	for _, job := range leader.jobs() {
		series := "weatherlight.housekeeping.runs_total/" + job.Name
		leads, follows := chorePoints(leader.chores)[series], chorePoints(host.chores)[series]
		if leads != 1 || follows != own[job.Name] {
			t.Errorf("%s was done %v times by the leader and %v times by the other, want 1 and %v",
				job.Name, leads, follows, own[job.Name])
		}
	}
	for _, r := range both {
		if err := r.stop(t); err != nil {
			t.Error(err)
		}
	}
}

func TestGroupsOfSingleInstancesAreRemoved(t *testing.T) {
	r := start(t, newService(t, nil))
	const stream = "oona.kernels.ready"
	if err := r.bus.EnsureGroups(t.Context(), Group+".long-gone", stream); err != nil {
		t.Fatal(err)
	}
	result, err := r.pruneAnswerGroups(t.Context())
	if err != nil || result["removed"] != 1 {
		t.Errorf("removed %v, %v", result, err)
	}
	if again, err := r.pruneAnswerGroups(t.Context()); err != nil || again["removed"] != 0 {
		t.Errorf("removed %v the second time, %v", again, err)
	}
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
}

// A part that takes its time to stop must not let the others take in work
// meanwhile.
func TestAllConsumersStopFetchingBeforeTheFirstHasStopped(t *testing.T) {
	service := newService(t, map[string]string{
		"REDIS_URL":                       redistest.Start(t).URL,
		"ASYNC_WORKER_SHUTDOWN_TIMEOUT_S": "60", "WEATHERLIGHT_SHUTDOWN_TIMEOUT": "60s",
	})
	stuck, release := make(chan struct{}, 1), make(chan struct{})
	service.chores = maintenance.New(maintenance.Config{Clock: cadence.Phase{}, Interval: time.Millisecond, Logger: slog.New(slog.DiscardHandler)}, []maintenance.Job{{Name: "stuck", Do: func(context.Context) (map[string]float64, error) {
		select {
		case stuck <- struct{}{}:
		default:
		}
		<-release
		return nil, nil
	}}})
	r := start(t, service)
	trainer := connect(t, r.BusURL(), "trainer")
	<-stuck
	r.cancel()
	eventually(t, "the intake is closed", func() bool { return r.intake.Err() != nil })
	request := &leyline.KernelPrefetchRequest{
		RequestId: "late", BlueprintId: "BP050", TrainingRunId: "run-1", IssuedAt: timestamppb.Now(),
	}
	eventually(t, "no consumer fetches", func() bool { return r.fetching.Load() == 0 })
	if err := trainer.PublishKernelPrefetchRequest(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	answers := listen(t, trainer, "oona.kernels.errors", "trainer", leyline.BusMessageType_BUS_MESSAGE_TYPE_KERNEL_PREFETCH_ERROR)
	<-time.After(200 * time.Millisecond) // What must not come has had its time.
	if got := answers.deliveries(); len(got) != 0 {
		t.Errorf("a request was taken during the drain: %v", got)
	}
	close(release)
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
}
