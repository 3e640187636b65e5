package e2e

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/esper-lite/weatherlight/internal/redistest"
)

var (
	loadRuns     = flag.Int("load.runs", 12, "runs that grow at once on a site of three instances")
	loadInterval = flag.Duration("load.interval", 200*time.Millisecond, "time between two reports of a run")
	loadFor      = flag.Duration("load.for", 0, "how long they report at least; 0: until each run keeps a seed")
)

// site is three instances on a Redis Cluster, with one library in PostgreSQL and an
// S3-compatible store, and a proxy in front through which trainers fetch kernels.
type site struct {
	t         *testing.T
	cluster   *redistest.Cluster
	redis     rueidis.Client
	instances []*world
	origin    string
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, cluster: redistest.StartCluster(t)}
	var addresses []string
	for _, node := range s.cluster.Nodes {
		addresses = append(addresses, node.Addr)
	}
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: addresses, DisableCache: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	s.redis = client
	s.origin = s.balance()
	library := sharedLibrary(t)
	for i := range 3 {
		w := worldOn(t, s.cluster.Nodes[0])
		w.environ = append(w.environ, "REDIS_URL="+s.cluster.URL, fmt.Sprintf("WEATHERLIGHT_INSTANCE=instance-%d", i),
			"WEATHERLIGHT_ADVERTISE_URL="+s.origin)
		w.environ = append(w.environ, library...)
		w.bootForged()
		s.instances = append(s.instances, w)
	}
	return s
}

// balance sends each request to the next instance. One that was killed fails it, and the trainer
// tries again.
func (s *site) balance() string {
	var next atomic.Int64
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Scheme, r.Out.URL.Host = "http", s.instances[int(next.Add(1))%len(s.instances)].http
	}}
	server := httptest.NewServer(proxy)
	s.t.Cleanup(server.Close)
	return server.URL
}

// TestGrowthOnAClusterWithPostgresAndS3 lets runs grow on three instances, kills the one that
// leads in their midst, and wants each run to keep a seed, each order once, and nothing left
// over. A Go trainer among them really trains, with a kernel that lies in the store of objects.
//
// With -load.runs, -load.interval and -load.for it is a load test that says what it cost.
func TestGrowthOnAClusterWithPostgresAndS3(t *testing.T) {
	begin(t)
	s := newSite(t)
	trained := startGoTrainer(t, goTrainerConfig{
		Redis: s.cluster.URL, Secret: secret, Run: "trained", Folder: t.TempDir(), Origin: s.origin,
	})
	c := newCrowd(t, s.cluster.URL, *loadRuns)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- c.train(ctx, *loadInterval) }()
	s.loseTheLeader(c)
	cost := s.measure(c)
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	trained.await(growth, fossilized)
	trained.end()
	s.settled()
	letters, replays := s.letters()
	if len(c.illegal) > 0 || len(letters) > 0 {
		t.Errorf("dead letters: %q; orders: %q", letters, c.illegal)
	}
	fmt.Printf("RESULT load runs=%d instances=%d kept=%d reports=%d not_taken=%d orders=%d repeated=%d illegal=%d replays=%d dead_letters=%d %s\n",
		*loadRuns, len(s.instances), c.kept(), c.reports, c.late, c.orders, c.again, len(c.illegal), replays, len(letters), cost)
	for _, w := range s.instances {
		w.stop()
	}
}

// loseTheLeader kills the instance that leads once the runs have begun to grow, and starts it
// again when another one leads.
func (s *site) loseTheLeader(c *crowd) {
	s.t.Helper()
	eventually(s.t, "the runs begin to grow", patience+20**loadInterval, func() bool { return c.ordered() >= *loadRuns/2 })
	at := slices.IndexFunc(s.instances, (*world).leads)
	if at < 0 {
		s.t.Fatal("nobody leads")
	}
	victim := s.instances[at]
	victim.process.mustDieOfKill()
	others := slices.Delete(slices.Clone(s.instances), at, at+1)
	eventually(s.t, "another instance leads", takeoverBound, func() bool { return slices.ContainsFunc(others, (*world).leads) })
	victim.boot()
}

// measure waits until each run keeps a seed and the time is over, and says what it took.
func (s *site) measure(c *crowd) string {
	s.t.Helper()
	begun, before, reports := time.Now(), s.use(), c.reported()
	looked, backlog := begun, int64(0)
	s.t.Cleanup(func() {
		if s.t.Failed() {
			s.t.Logf("%s; %d reports wait", c, s.backlog())
		}
	})
	eventually(s.t, "each run keeps a seed, and the time is over", patience+*loadFor+100**loadInterval, func() bool {
		if time.Since(looked) >= time.Second {
			looked, backlog = time.Now(), max(backlog, s.backlog())
		}
		return c.kept() == *loadRuns && time.Since(begun) >= *loadFor
	})
	took, after := time.Since(begun).Seconds(), s.use()
	delays := c.sortedDelays()
	if len(delays) == 0 {
		s.t.Fatal("no orders came")
	}
	return fmt.Sprintf("reports_per_s=%.0f order_p50_ms=%d order_p99_ms=%d backlog_max=%d instances_cores=%.2f redis_cores=%.2f "+
		"instances_mb=%.0f redis_mb=%.0f",
		float64(c.reported()-reports)/took, delays[len(delays)/2].Milliseconds(), delays[len(delays)*99/100].Milliseconds(), backlog,
		(after.instances-before.instances)/took, (after.redis-before.redis)/took, after.instancesMB, after.redisMB)
}

// use is what the processes of a site have used: seconds of CPU, and resident megabytes.
type use struct{ instances, redis, instancesMB, redisMB float64 }

func (s *site) use() (u use) {
	s.t.Helper()
	for _, w := range s.instances {
		seconds, mb := used(s.t, w.process.cmd.Process.Pid)
		u.instances, u.instancesMB = u.instances+seconds, u.instancesMB+mb
	}
	for _, node := range s.cluster.Nodes {
		seconds, mb := used(s.t, node.Pid())
		u.redis, u.redisMB = u.redis+seconds, u.redisMB+mb
	}
	return u
}

// used reads Linux's account of a process, which counts hundredths of a second and pages.
func used(t *testing.T, pid int) (seconds, mb float64) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	for _, field := range fields[11:13] { // utime and stime
		ticks, _ := strconv.ParseFloat(field, 64)
		seconds += ticks / 100
	}
	pages, _ := strconv.ParseFloat(fields[21], 64)
	return seconds, pages * float64(os.Getpagesize()) / (1 << 20)
}

// backlog is how many reports are not handled yet; -1 is unknown.
func (s *site) backlog() int64 {
	groups, err := s.redis.Do(s.t.Context(), s.redis.B().XinfoGroups().Key(streamNormal).Build()).ToArray()
	if err != nil {
		return -1
	}
	for _, g := range groups {
		fields, _ := g.AsMap()
		name := fields["name"]
		if text, _ := name.ToString(); text == group {
			pending, lag := fields["pending"], fields["lag"]
			waiting, _ := pending.AsInt64()
			unread, err := lag.AsInt64()
			if err != nil {
				return -1
			}
			return waiting + unread
		}
	}
	return -1
}

func (s *site) settled() {
	s.t.Helper()
	eventually(s.t, "all reports are handled", patience, func() bool { return s.backlog() == 0 })
}

// letters are what was given up, and why. What the instance that was killed had sent and not
// noted is sent again: the second of two requests is refused as a replay.
func (s *site) letters() (found []string, replays int) {
	s.t.Helper()
	entries, err := s.redis.Do(s.t.Context(), s.redis.B().Xrange().Key(streamDeadLetter).Start("-").End("+").Build()).AsXRange()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, e := range entries {
		if e.FieldValues["reason"] == "replay" {
			replays++
			continue
		}
		found = append(found, e.FieldValues["origin_stream"]+": "+e.FieldValues["reason"]+": "+e.FieldValues["error"])
	}
	return found, replays
}
