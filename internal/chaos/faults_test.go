package chaos_test

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/internal/faultproxy"
	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
)

// stage is one Redis with a proxy before it, for one fault.
type stage struct {
	t      *testing.T
	server *redistest.Server
	proxy  *faultproxy.Proxy
	redis  rueidis.Client // not through the proxy
	folder string
}

// fault is one thing that goes wrong. strike returns when it is over.
type fault struct {
	name, fsync string
	args        []string
	quick       bool // also measured by a plain go test
	keeps       bool // nothing that was acknowledged may be lost
	strike      func(s *stage)
}

var (
	fsyncAlways  = []string{"--appendonly", "yes", "--appendfsync", "always"}
	fsyncSeconds = []string{"--appendonly", "yes", "--appendfsync", "everysec"}
)

// faults is the table of docs/delivery.md, in its order.
var faults = []fault{
	{"every connection cut", "any", fsyncAlways, true, true, func(s *stage) { s.proxy.Cut() }},
	{"connections refused for 5 s", "any", fsyncAlways, false, true, func(s *stage) {
		s.play(faultproxy.Step{Cut: true, Fault: faultproxy.Fault{Refuse: true}, For: 5 * time.Second})
	}},
	{"half-open connections for 5 s", "any", fsyncAlways, false, true, func(s *stage) {
		s.play(faultproxy.Step{Fault: faultproxy.Fault{HalfOpen: true}, For: 5 * time.Second})
	}},
	{"network delay of 200 ms for 5 s", "any", fsyncAlways, false, true, func(s *stage) {
		s.play(faultproxy.Step{Fault: faultproxy.Fault{Delay: 100 * time.Millisecond}, For: 5 * time.Second})
	}},
	{"Redis killed (-9) and restarted", "always", fsyncAlways, true, true, func(s *stage) { s.server.Restart() }},
	{"Redis killed (-9) and restarted", "everysec", fsyncSeconds, false, false, func(s *stage) { s.server.Restart() }},
	{"Redis killed (-9) and restarted", "no AOF", nil, false, false, func(s *stage) { s.server.Restart() }},
	{"power cut: the last second of the AOF is gone", "everysec", fsyncSeconds, false, false, powerCut},
	{"Redis killed (-9), down for 5 s", "always", fsyncAlways, false, true, func(s *stage) {
		s.server.Kill()
		pause(context.Background(), 5*time.Second)
		s.server.Restart()
	}},
	{"Redis frozen (SIGSTOP) for 10 s", "any", fsyncAlways, false, true, func(s *stage) {
		s.server.Freeze()
		pause(context.Background(), 10*time.Second)
		s.server.Thaw()
	}},
	{"DEBUG SLEEP 5", "any", append([]string{"--enable-debug-command", "yes"}, fsyncAlways...), false, true, func(s *stage) {
		s.must("DEBUG", "SLEEP", "4.9") // just within the patience of the raw connection
	}},
	{"FLUSHALL", "any", fsyncAlways, true, false, func(s *stage) { s.must("FLUSHALL") }},
	{"read-only replica for 5 s (REPLICAOF)", "any", fsyncAlways, false, true, func(s *stage) {
		s.must("REPLICAOF", "127.0.0.1", "1") // a master that is gone: the data stays
		pause(context.Background(), 5*time.Second)
		s.must("REPLICAOF", "NO", "ONE")
	}},
	{"out of memory (maxmemory, noeviction) for 5 s", "any", fsyncAlways, false, true, func(s *stage) {
		s.must("CONFIG", "SET", "maxmemory", "1")
		pause(context.Background(), 5*time.Second)
		s.must("CONFIG", "SET", "maxmemory", "0")
	}},
}

// must runs a command, over again while connections find out what happened to
// their server.
func (s *stage) must(words ...string) {
	s.t.Helper()
	for range 20 {
		err := command(s.redis, words...).Error()
		if err == nil {
			return
		}
		if _, answered := rueidis.IsRedisErr(err); answered {
			s.t.Errorf("%v: %v", words[0], err)
			return
		}
		pause(context.Background(), 50*time.Millisecond)
	}
	s.t.Errorf("%v: no answer", words[0])
}

// probe stores one more request beside the publisher, which may take longer to
// come back than the consumer.
func (s *stage) probe() {
	s.t.Helper()
	r := request(1, 0)
	payload, err := proto.Marshal(r)
	if err != nil {
		s.t.Fatal(err)
	}
	envelope, err := proto.Marshal(&leyline.BusEnvelope{MessageType: requestKind, Payload: payload})
	if err != nil {
		s.t.Fatal(err)
	}
	s.must("XADD", streams.KernelRequests, "*", "payload", string(envelope), "signature", keyring(s.t).SignEnvelope(envelope))
}

func (s *stage) play(script ...faultproxy.Step) {
	s.t.Helper()
	if err := s.proxy.Play(context.Background(), script...); err != nil {
		s.t.Error(err)
	}
}

// powerCut kills Redis and takes back what it wrote in its last second, which
// is what a machine that loses power may not have had on disk yet.
func powerCut(s *stage) {
	file := s.appendOnlyFile()
	size := sizeOf(s.t, file)
	pause(context.Background(), time.Second)
	s.server.Kill()
	if err := os.Truncate(file, size); err != nil {
		s.t.Fatal(err)
	}
	s.server.Restart()
}

func (s *stage) appendOnlyFile() string {
	s.t.Helper()
	var found string
	err := filepath.WalkDir(s.folder, func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".incr.aof") {
			found = path
		}
		return err
	})
	if err != nil || found == "" {
		s.t.Fatalf("no append-only file in %s: %v", s.folder, err)
	}
	return found
}

func sizeOf(t *testing.T, file string) int64 {
	t.Helper()
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

func newStage(t *testing.T, f fault) *stage {
	folder := t.TempDir()
	server := redistest.Start(t, append([]string{"--dir", folder}, f.args...)...)
	proxy, err := faultproxy.Start(server.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = proxy.Close() })
	return &stage{t: t, server: server, proxy: proxy, redis: raw(t, server.URL), folder: folder}
}

// measure lets traffic flow, strikes, and waits until it flows again.
func measure(t *testing.T, f fault) row {
	s := newStage(t, f)
	flow := startTraffic(t, "redis://"+s.proxy.Addr()+"/0", s.redis)
	pause(context.Background(), time.Second)
	f.strike(s)
	healed := time.Now()
	s.probe()
	publishing, consuming := flow.recovery(healed)
	pause(context.Background(), time.Second)
	flow.stop()
	flow.publishing.Wait()
	awaitQuiet(s.redis)
	flow.end()
	v := flow.history.Verdict()
	missing := flow.history.Lost()
	return row{fault: f, missing: missing[:min(5, len(missing))], acknowledged: v.Acknowledged, lost: v.Lost, again: flow.again(), twice: v.Twice,
		publishing: publishing, consuming: consuming, lines: [2]int64{flow.publisherLines.Load(), flow.consumerLines.Load()}}
}

// awaitQuiet waits until everything that is still there was handled. A group
// that cannot be asked for its lag has at least nothing in hand after a while.
func awaitQuiet(redis rueidis.Client) {
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); <-poll.C {
		if idle(redis, streams.KernelRequests) {
			return
		}
	}
}

// TestEveryFaultHealsAsPromised measures the faults; with -update it writes
// them into the table of docs/delivery.md.
func TestEveryFaultHealsAsPromised(t *testing.T) {
	if options.faults == "quick" {
		t.Parallel() // no figure of it is kept
	}
	rows := make([]row, len(faults))
	var measured sync.WaitGroup
	slots := make(chan struct{}, 2) // few at once: it is times that are measured
	for i, f := range faults {
		if options.faults != "all" && !f.quick {
			continue
		}
		measured.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			t.Run(f.name+", "+f.fsync, func(t *testing.T) {
				rows[i] = measure(t, f)
				t.Log(rows[i])
				rows[i].judge(t)
			})
		})
	}
	measured.Wait()
	if options.update && options.faults == "all" {
		writeTable(t, rows)
	}
}
