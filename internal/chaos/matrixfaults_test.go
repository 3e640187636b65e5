package chaos_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/faultproxy"
	"github.com/esper-lite/weatherlight/internal/pgtest"
	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/internal/s3test"
)

// lasting is how long a fault lasts that has a length: long enough that it must be told.
const lasting = 8 * time.Second

// trial is one fault in a site of its own. set builds the site and returns how the fault
// begins and ends.
type trial struct {
	name  string
	lasts time.Duration // 0: over at once
	quick bool          // also a part of a plain go test
	may   allowance
	set   func(t *testing.T) (s *site, begin, end func())
}

// allowance is what docs/delivery.md says that such a bus may do to what was acknowledged.
type allowance string

const (
	mayNothing allowance = "nothing"
	mayDouble  allowance = "answers twice"           // no script spans the nodes of a cluster
	mayLose    allowance = "lost, and answers twice" // what a replica did not have
)

// trials are the rows of the matrix.
var trials = []trial{
	{"Redis killed (-9) and restarted", 0, false, mayNothing, busSite(func(s *site) { s.server.Restart() }, nothing)},
	{"Redis killed (-9), down", lasting, true, mayNothing, busSite(func(s *site) { s.server.Kill() }, func(s *site) { s.server.Restart() })},
	{"every connection cut", 0, false, mayNothing, busSite(func(s *site) { s.proxy.Cut() }, nothing)},
	{"half-open connections", lasting, false, mayNothing, busSite(
		func(s *site) { s.proxy.Set(faultproxy.Fault{HalfOpen: true}) }, func(s *site) { s.proxy.Set(faultproxy.Fault{}) })},
	{"Redis frozen (SIGSTOP)", lasting, false, mayNothing, busSite(func(s *site) { s.server.Freeze() }, func(s *site) { s.server.Thaw() })},
	{"catalogue damaged (SQLite)", lasting, false, mayNothing, damagedCatalogue},
	{"catalogue away (PostgreSQL killed)", lasting, false, mayNothing, catalogueAway},
	{"artifacts away (S3)", lasting, false, mayNothing, artifactsAway},
	{"clock of Redis 10 min ahead, and back", lasting, false, mayNothing, movedClock(10 * time.Minute)},
	{"clock of Redis 10 min behind, and back", lasting, false, mayNothing, movedClock(-10 * time.Minute)},
	{"rights to XADD taken away", lasting, true, mayNothing, rightsTaken},
	{"eviction policy set (allkeys-lru)", lasting, false, mayNothing, busSite(
		func(s *site) { s.evict("allkeys-lru") }, func(s *site) { s.evict("noeviction") })},
	{"disk of the service full", lasting, false, mayNothing, fullDisk},
	{"one of two instances slow (600 ms each way)", lasting, false, mayNothing, slowInstance},
	{"one of two instances stopped (SIGSTOP) for longer than its lease, and back", lasting, false, mayNothing, zombie},
	{"master killed, replica a second behind takes over", lasting, false, mayLose, failover},
	{"Redis Cluster, slot of the requests moved", 0, false, mayDouble, slotMoved},
	{"Redis Cluster, node of the requests killed and back", lasting, false, mayDouble, nodeLost},
}

func nothing(*site) {}

// busSite is one bus and one service.
func busSite(begin, end func(*site)) func(*testing.T) (*site, func(), func()) {
	return func(t *testing.T) (*site, func(), func()) {
		s := newSite(t, nil)
		s.instance("one").forged(t)
		return s, func() { begin(s) }, func() { end(s) }
	}
}

func (s *site) must(words ...string) {
	s.t.Helper()
	if err := command(s.redis, words...).Error(); err != nil {
		s.t.Fatalf("%v: %v", words, err)
	}
}

func (s *site) evict(policy string) {
	s.t.Helper()
	s.must("CONFIG", "SET", "maxmemory", "1gb")
	s.must("CONFIG", "SET", "maxmemory-policy", policy)
}

func movedClock(ahead time.Duration) func(*testing.T) (*site, func(), func()) {
	return func(t *testing.T) (*site, func(), func()) {
		clock := redistest.NewClock(t)
		s := newSite(t, clock)
		s.instance("one").forged(t)
		return s, func() { clock.Set(ahead) }, func() { clock.Set(0) }
	}
}

func rightsTaken(t *testing.T) (*site, func(), func()) {
	s := newSite(t, nil)
	s.must("ACL", "SETUSER", "service", "on", ">pw", "~*", "&*", "+@all")
	s.instance("one", "REDIS_URL=redis://service:pw@"+s.proxy.Addr()+"/0").forged(t)
	return s, func() { s.must("ACL", "SETUSER", "service", "-xadd") }, func() { s.must("ACL", "SETUSER", "service", "+xadd") }
}

func damagedCatalogue(t *testing.T) (*site, func(), func()) {
	s := newSite(t, nil)
	i := s.instance("one")
	i.forged(t)
	i.cold(t)
	path := filepath.Join(i.folder, "var", "urza", "catalog.db")
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write := func(content []byte) {
		file, err := os.OpenFile(path, os.O_WRONLY, 0) // in place: the service has it open
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if _, err := file.WriteAt(content, 0); err != nil {
			t.Fatal(err)
		}
	}
	return s, func() { write([]byte(strings.Repeat("damaged ", len(sound)/8))) }, func() { write(sound) }
}

func catalogueAway(t *testing.T) (*site, func(), func()) {
	database := pgtest.Start(t)
	s := newSite(t, nil)
	i := s.instance("one", "URZA_DATABASE_URL="+database.URL(""))
	i.forged(t)
	i.cold(t)
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	return s, func() { must(database.Kill()) }, func() { must(database.Restart()) }
}

func artifactsAway(t *testing.T) (*site, func(), func()) {
	store := s3test.Start(t)
	addr := strings.TrimPrefix(store.URL, "http://")
	way := proxyTo(t, addr)
	s := newSite(t, nil)
	i := s.instance("one", "URZA_ARTIFACT_URL="+strings.Replace(store.ArtifactURL("kernels"), addr, way.Addr(), 1),
		"URZA_S3_ACCESS_KEY="+s3test.AccessKey, "URZA_S3_SECRET_KEY="+s3test.SecretKey)
	i.forged(t)
	i.cold(t)
	begin := func() {
		way.Set(faultproxy.Fault{Refuse: true})
		way.Cut()
	}
	return s, begin, func() { way.Set(faultproxy.Fault{}) }
}

// fullDisk fills the disk of all that a service writes to. Who may not mount one takes
// the rights from its folders.
func fullDisk(t *testing.T) (*site, func(), func()) {
	s := newSite(t, nil)
	mounted := exec.Command("mount", "-t", "tmpfs", "-o", "size=160m", "tmpfs", s.folder).Run() == nil
	if mounted {
		t.Cleanup(func() {
			if out, err := exec.Command("umount", "-l", s.folder).CombinedOutput(); err != nil {
				t.Errorf("umount: %v %s", err, out)
			}
		})
	}
	i := s.instance("one")
	i.forged(t)
	if !mounted {
		chmod := func(mode os.FileMode) func() {
			return func() {
				for _, folder := range []string{"weatherlight", "urza", "tamiyo"} {
					_ = os.Chmod(filepath.Join(i.folder, "var", folder), mode)
				}
			}
		}
		return s, chmod(0o500), chmod(0o700)
	}
	filler := filepath.Join(s.folder, "filler")
	fill := func() {
		file, err := os.Create(filler)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		for chunk := make([]byte, 4096); err == nil; {
			_, err = file.Write(chunk)
		}
	}
	return s, fill, func() { _ = os.Remove(filler) }
}

// slowInstance has a long way to the bus for one of two.
func slowInstance(t *testing.T) (*site, func(), func()) {
	s := newSite(t, nil)
	s.instance("one").forged(t)
	way := proxyTo(t, s.server.Addr)
	s.instance("two", "REDIS_URL=redis://"+way.Addr()+"/0").forged(t)
	return s, func() { way.Set(faultproxy.Fault{Delay: 600 * time.Millisecond}) }, func() { way.Set(faultproxy.Fault{}) }
}

// zombie is the one that leads.
func zombie(t *testing.T) (*site, func(), func()) {
	s := newSite(t, nil)
	first := s.instance("one")
	first.forged(t)
	s.instance("two").forged(t)
	return s, func() { first.process.Signal(syscall.SIGSTOP) }, func() { first.process.Signal(syscall.SIGCONT) }
}

// failover has a replica that was cut off when its master dies, and a service that was
// stopped for the same second: what it had done would not be lost.
func failover(t *testing.T) (*site, func(), func()) {
	s := newSite(t, nil)
	s.standby = redistest.Start(t, redistest.AOF()...)
	link := proxyTo(t, s.server.Addr)
	replica := raw(t, s.standby.URL)
	host, port, _ := strings.Cut(link.Addr(), ":")
	s.tell(s.standby, "REPLICAOF", host, port)
	await(t, "the replica follows", func() bool {
		info, err := command(replica, "INFO", "replication").ToString()
		return err == nil && strings.Contains(info, "master_link_status:up")
	})
	i := s.instance("one")
	i.forged(t)
	begin := func() {
		link.Set(faultproxy.Fault{HalfOpen: true})
		i.process.Signal(syscall.SIGSTOP)
		pause(context.Background(), time.Second)
		s.server.Kill()
		i.process.Signal(syscall.SIGCONT)
	}
	end := func() {
		s.tell(s.standby, "REPLICAOF", "NO", "ONE")
		for _, way := range []*faultproxy.Proxy{s.proxy, s.side} {
			way.Forward(s.standby.Addr)
			way.Cut()
		}
	}
	return s, begin, end
}

func slotMoved(t *testing.T) (*site, func(), func()) {
	s := clusterSite(t)
	s.instance("one").forged(t)
	return s, func() { s.moveSlot(streams.KernelRequests, 0) }, func() {}
}

func nodeLost(t *testing.T) (*site, func(), func()) {
	s := clusterSite(t)
	s.instance("one").forged(t)
	at, _ := s.nodeOf(streams.KernelRequests)
	return s, func() { s.nodes[at].Kill() }, func() {
		s.nodes[at].Restart()
		s.cluster.Await() // that the others take it back takes time, too
	}
}
