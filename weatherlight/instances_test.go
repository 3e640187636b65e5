package weatherlight

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona/lease"
	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/weatherlight/assembly"
	"github.com/esper-lite/weatherlight/weatherlight/internal/datadir"
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
	if !leader.fleet.Leads() || host.fleet.Leads() {
		t.Fatal("the first instance does not lead")
	}
	return leader, host
}

// A group that nobody reads for is further behind with each packet, and a healthy system looks stuck.
func TestServiceHasNoGroupThatItDoesNotRead(t *testing.T) {
	r := start(t, newService(t, map[string]string{"REDIS_URL": redistest.Start(t).URL, "WEATHERLIGHT_TELEMETRY_INTERVAL": "50ms"}))
	eventually(t, "telemetry lies there, and no group waits for anything", func() bool {
		streams, err := r.bus.Admin().Streams(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		told := false
		for _, s := range streams {
			told = told || s.Name == onTelemetry && s.Entries > 0
			for i := range s.Groups {
				if _, read := s.Groups[i].Silent(); !read && s.Entries > 0 {
					return false
				}
			}
		}
		return told
	})
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

// jobNamed is a maintenance job of a service.
func jobNamed(t *testing.T, r *running, name string) maintenance.Func {
	t.Helper()
	for _, job := range maintenance.Jobs(r.jobsConfig(r.fanOut)) {
		if job.Name == name {
			return job.Do
		}
	}
	t.Fatalf("no job %s", name)
	return nil
}

// The capabilities of a shared library are written by one instance, for the
// seeds of all.
func TestCapabilitiesOfAnotherInstancesSeedsAreWritten(t *testing.T) {
	leader, host := twoInstances(t)
	host.blend("seed-1")
	fanOut := func(r *running) maintenance.Func { return jobNamed(t, r, "capability_fanout") }
	if _, err := fanOut(host.running)(t.Context()); err == nil {
		t.Error("both instances look after one library")
	}
	result, err := fanOut(leader)(t.Context())
	if err != nil || result["changed"] != 1 {
		t.Errorf("fan-out %v, %v", result, err)
	}
	// What another instance committed is seen a moment later.
	eventually(t, "the library grants something", func() bool { return len(host.capabilities()["seed-1"]) > 0 })
	// A leader that was must not write any more.
	owner, err := datadir.Name(leader.settings.Weatherlight.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	successor := leader.bus.NewLease(lease.Config{Name: leader.instance(), Owner: owner})
	eventually(t, "the other instance leads", func() bool {
		_, err := successor.Renew(t.Context(), nil) // in the leader's place
		if err := errors.Join(err, successor.Release(t.Context())); err != nil {
			t.Fatal(err)
		}
		return host.fleet.Renew(t.Context()) == nil && host.fleet.Leads()
	})
	if _, err := leader.fanOut.Run(t.Context()); err == nil && leader.fleet.Leads() {
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
		r.jobs.Round(t.Context())
	}
	own := map[string]float64{"memory": 1}
	for _, job := range maintenance.Jobs(leader.jobsConfig(leader.fanOut)) {
		series := "weatherlight.housekeeping.runs_total/" + job.Name
		leads, follows := taskPoints(leader.jobs)[series], taskPoints(host.jobs)[series]
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
	if err := r.bus.EnsureGroups(t.Context(), assembly.Group+".long-gone", stream); err != nil {
		t.Fatal(err)
	}
	prune := jobNamed(t, r, "oona_answer_groups")
	result, err := prune(t.Context())
	if err != nil || result["removed"] != 1 {
		t.Errorf("removed %v, %v", result, err)
	}
	if again, err := prune(t.Context()); err != nil || again["removed"] != 0 {
		t.Errorf("removed %v the second time, %v", again, err)
	}
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
}

// A part that takes its time to stop must not let the others take in work
// meanwhile.
func TestAllConsumersStopFetchingBeforeTheFirstHasStopped(t *testing.T) {
	redis := redistest.Start(t)
	r := start(t, newService(t, map[string]string{
		"REDIS_URL":                       redis.URL,
		"ASYNC_WORKER_SHUTDOWN_TIMEOUT_S": "60", "WEATHERLIGHT_SHUTDOWN_TIMEOUT": "60s",
	}))
	release := make(chan struct{})
	slow := supervise.WorkerFunc(func(context.Context) error { <-release; return nil })
	if err := r.supervisor.StopWorker(t.Context(), workerHousekeeping); err != nil {
		t.Fatal(err)
	}
	if err := r.supervisor.Start(t.Context(), supervise.Spec{Name: workerHousekeeping, Worker: slow}); err != nil {
		t.Fatal(err)
	}
	trainer, server := connect(t, r.BusURL(), "trainer"), askServed(t, redis.Addr)
	eventually(t, "consumers fetch", func() bool { return server.figure("blocked_clients") > 3 })
	r.cancel()
	eventually(t, "fetching is stopped", func() bool { return r.fetch.Err() != nil })
	request := &leyline.KernelPrefetchRequest{
		RequestId: "late", BlueprintId: "BP050", TrainingRunId: "run-1", IssuedAt: timestamppb.Now(),
	}
	eventually(t, "no consumer fetches", func() bool { return server.figure("blocked_clients") == 0 })
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
