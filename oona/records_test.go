package oona_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/esper-lite/weatherlight/internal/faultproxy"
	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/oona/embedded"
)

func startBroker(t testing.TB) *embedded.Broker {
	t.Helper()
	b, err := embedded.Start(embedded.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// throughProxy starts a server and a proxy in front of it, and returns the address
// of the latter.
func throughProxy(t *testing.T) (server *redistest.Server, proxy *faultproxy.Proxy, url string) {
	t.Helper()
	server = redistest.Start(t)
	proxy, err := faultproxy.Start(server.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = proxy.Close() })
	return server, proxy, "redis://" + proxy.Addr() + "/0"
}

// written is the answer to a write that was done: a version, or a conflict.
var written = regexp.MustCompile(`^:-?\d{16}\r\n$`)

func TestWriteWhoseAnswerIsLostIsDoneOnce(t *testing.T) {
	t.Parallel()
	_, proxy, url := throughProxy(t)
	records := connect(t, url, nil).Records(orderStream)
	key := oona.RecordKey{Part: "kasmina", Run: "r"}
	var version int64
	var lost atomic.Int64
	for n := range 20 {
		armed := new(atomic.Bool)
		armed.Store(true)
		proxy.Rewrite(func(answer []byte) []byte {
			if written.Match(answer) && armed.CompareAndSwap(true, false) {
				lost.Add(1)
				go proxy.Cut()
				return nil
			}
			return answer
		})
		next, err := records.Save(t.Context(), oona.RecordWrite{Key: key, Version: version, Value: fmt.Append(nil, n),
			Orders: []*leyline.AdaptationCommand{anOrder(t, n)}})
		if err != nil || next <= version {
			t.Fatalf("write %d: version %d follows %d, %v", n, next, version, err)
		}
		version = next
	}
	if lost.Load() != 20 {
		t.Fatalf("%d answers were lost, want 20", lost.Load())
	}
	ids := followed(t, connect(t, url, nil), "oona.run.r", 20)
	for n := range 20 {
		if got := ids[anOrder(t, n).GetCommandId()]; got != 1 {
			t.Errorf("order %d went out %d times", n, got)
		}
	}
}

// followed counts the orders of a run by id, until there are so many.
func followed(t *testing.T, c *oona.Client, stream string, count int) map[string]int {
	t.Helper()
	ctx, end := context.WithTimeout(t.Context(), soon)
	defer end()
	ids := make(map[string]int)
	err := c.FollowOrders(ctx, stream, func(o *leyline.AdaptationCommand) {
		ids[o.GetCommandId()]++
		if count--; count == 0 {
			end()
		}
	})
	if err != nil || count > 0 {
		t.Errorf("follow orders: %v, %d are missing", err, count)
	}
	return ids
}

func TestSecondWriteOverALostAnswerIsAConflict(t *testing.T) {
	t.Parallel()
	server, proxy, url := throughProxy(t)
	key := oona.RecordKey{Part: "kasmina", Run: "r"}
	first, second := connect(t, url, nil).Records(orderStream), connect(t, server.URL, nil).Records(orderStream)
	version, err := first.Save(t.Context(), oona.RecordWrite{Key: key, Value: []byte("one")})
	if err != nil {
		t.Fatal(err)
	}
	var third int64
	armed := new(atomic.Bool)
	armed.Store(true)
	proxy.Rewrite(func(answer []byte) []byte {
		if !written.Match(answer) || !armed.CompareAndSwap(true, false) {
			return answer
		}
		// The answer is lost, and another instance goes on from what was written.
		record, err := second.Load(context.Background(), key)
		if err == nil {
			third, err = second.Save(context.Background(), oona.RecordWrite{Key: key, Version: record.Version, Value: []byte("three")})
		}
		if err != nil {
			t.Error(err)
		}
		go proxy.Cut()
		return nil
	})
	_, err = first.Save(t.Context(), oona.RecordWrite{Key: key, Version: version, Value: []byte("two"),
		Orders: []*leyline.AdaptationCommand{anOrder(t, 1)}})
	conflict, is := errors.AsType[*oona.ConflictError](err)
	if !is || conflict.Found != third {
		t.Fatalf("error = %v, want a conflict with version %d", err, third)
	}
	if orders, err := answer(t, server, "XLEN", "oona.run.r").AsInt64(); err != nil || orders != 1 {
		t.Errorf("%d orders went out, %v", orders, err)
	}
}

// A server that comes back without its last writes has a state that was there before.
func TestWriteOnWhatTheServerHasLostIsAConflict(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	first, second := connect(t, server.URL, nil).Records(orderStream), connect(t, server.URL, nil).Records(orderStream)
	key := oona.RecordKey{Part: "kasmina", Run: "r"}
	save := func(records *oona.Records, version int64, value string) int64 {
		t.Helper()
		version, err := records.Save(t.Context(), oona.RecordWrite{Key: key, Version: version, Value: []byte(value)})
		if err != nil {
			t.Fatal(err)
		}
		return version
	}
	one := save(first, 0, "one")
	kept, err := answer(t, server, "DUMP", "weatherlight:kasmina:{oona.run.r}").ToString()
	if err != nil {
		t.Fatal(err)
	}
	two := save(first, one, "two")
	tell(t, server, "RESTORE", "weatherlight:kasmina:{oona.run.r}", "0", kept, "REPLACE")
	other := save(second, one, "two, decided on by another")
	_, err = first.Save(t.Context(), oona.RecordWrite{Key: key, Version: two, Value: []byte("three")})
	if conflict, is := errors.AsType[*oona.ConflictError](err); !is || conflict.Found != other {
		t.Errorf("a write on version %d, which is lost, over %d: %v", two, other, err)
	}
}

func TestRecordsOfABusThatIsAwayFailInTime(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := connect(t, server.URL, hasty)
	records := c.Records(orderStream)
	server.Kill()
	begun := time.Now()
	_, err := records.Save(t.Context(), oona.RecordWrite{Key: oona.RecordKey{Part: "kasmina", Run: "r"}})
	if !errors.Is(err, oona.ErrUnavailable) || time.Since(begun) > soon {
		t.Errorf("error after %v: %v", time.Since(begun), err)
	}
	if c.Now().IsZero() {
		t.Error("without a bus there is no time")
	}
	_ = c.Close()
	if _, err := records.Load(t.Context(), oona.RecordKey{}); !errors.Is(err, oona.ErrClosed) {
		t.Errorf("of a closed client: %v", err)
	}
	if err := c.FollowOrders(t.Context(), "oona.run.r", nil); !errors.Is(err, oona.ErrClosed) {
		t.Errorf("of a closed client: %v", err)
	}
	braces := c.Records(func(run string) string { return "{" + run + "}" })
	if _, err := braces.Load(t.Context(), oona.RecordKey{Run: "r"}); err == nil {
		t.Error("a stream with braces in its name is on no known node")
	}
}

// Two clients race for one record. Whatever they do, each write follows from the
// version before it, and the model agrees with what lies there.
func TestRecordsFollowTheirModel(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	url := b.URL()
	clients := []*oona.Records{connect(t, url, nil).Records(orderStream), connect(t, url, nil).Records(orderStream)}
	var runs atomic.Int64
	rapid.Check(t, func(t *rapid.T) {
		m := &recordModel{broker: b, clients: clients, known: make([]oona.Record, len(clients)),
			key: oona.RecordKey{Part: "kasmina", Run: fmt.Sprint("run-", runs.Add(1))}}
		t.Repeat(map[string]func(*rapid.T){
			"load": m.load, "save": m.save, "race": m.race, "settle": m.settle, "expire": m.expire, "": m.check,
		})
	})
}

type recordModel struct {
	broker  *embedded.Broker
	clients []*oona.Records
	known   []oona.Record // what each client loaded or wrote last
	truth   oona.Record
	latest  int64 // version of whatever was written last
	key     oona.RecordKey
}

func (m *recordModel) pick(t *rapid.T) int {
	return rapid.IntRange(0, len(m.clients)-1).Draw(t, "client")
}

func (m *recordModel) load(t *rapid.T) {
	i := m.pick(t)
	record, err := m.clients[i].Load(context.Background(), m.key)
	if err != nil {
		t.Fatal(err)
	}
	m.known[i] = record
}

func drawWrite(t *rapid.T, key oona.RecordKey, version int64) oona.RecordWrite {
	bytes := rapid.SliceOfN(rapid.Byte(), 1, 20)
	w := oona.RecordWrite{Key: key, Version: version, Value: bytes.Draw(t, "value")}
	if rapid.Bool().Draw(t, "pending") {
		w.Pending = bytes.Draw(t, "outputs")
	}
	return w
}

func (m *recordModel) save(t *rapid.T) {
	i := m.pick(t)
	w := drawWrite(t, m.key, m.known[i].Version)
	version, err := m.clients[i].Save(context.Background(), w)
	m.expect(t, w.Version, err)
	if err == nil {
		m.wrote(t, i, w, version)
	}
}

func (m *recordModel) wrote(t *rapid.T, client int, w oona.RecordWrite, version int64) {
	if version <= m.latest {
		t.Fatalf("version %d follows %d", version, m.latest)
	}
	m.truth = oona.Record{Version: version, Value: w.Value, Pending: w.Pending}
	m.known[client], m.latest = m.truth, version
}

// expect holds what came of a write upon a version to the model.
func (m *recordModel) expect(t *rapid.T, version int64, err error) {
	conflict, is := errors.AsType[*oona.ConflictError](err)
	switch {
	case version == m.truth.Version && err != nil:
		t.Fatalf("upon version %d, which is there: %v", version, err)
	case version != m.truth.Version && (!is || conflict.Found != m.truth.Version || conflict.Expected != version):
		t.Fatalf("upon version %d, where %d is: %v", version, m.truth.Version, err)
	}
}

// race has both clients write upon the same version at once.
func (m *recordModel) race(t *rapid.T) {
	writes := make([]oona.RecordWrite, len(m.clients))
	for i := range writes {
		writes[i] = drawWrite(t, m.key, m.truth.Version)
	}
	versions, errs := make([]int64, len(writes)), make([]error, len(writes))
	var racing sync.WaitGroup
	for i, w := range writes {
		racing.Go(func() { versions[i], errs[i] = m.clients[i].Save(context.Background(), w) })
	}
	racing.Wait()
	won := -1
	for i, err := range errs {
		if err == nil {
			if won >= 0 {
				t.Fatal("two wrote upon the same version")
			}
			won = i
		} else if _, conflict := errors.AsType[*oona.ConflictError](err); !conflict {
			t.Fatal(err)
		}
	}
	if won < 0 {
		t.Fatal("nobody won")
	}
	m.wrote(t, won, writes[won], versions[won])
}

func (m *recordModel) settle(t *rapid.T) {
	i := m.pick(t)
	if err := m.clients[i].Settle(context.Background(), m.key, m.known[i].Version); err != nil {
		t.Fatal(err)
	}
	if m.known[i].Version == m.truth.Version {
		m.truth.Pending = nil
	}
}

// expire has the record end, as one does that nobody writes for long.
func (m *recordModel) expire(*rapid.T) {
	m.broker.Do(time.Now(), "DEL", "weatherlight:kasmina:{"+orderStream(m.key.Run)+"}")
	m.truth = oona.Record{}
}

func (m *recordModel) check(t *rapid.T) {
	record, err := m.clients[0].Load(context.Background(), m.key)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m.truth, record); diff != "" {
		t.Fatalf("record (-model +bus):\n%s", diff)
	}
}

func FuzzLoadRecord(f *testing.F) {
	b := startBroker(f)
	records := connect(f, b.URL(), nil).Records(orderStream)
	f.Add("1700000000000", []byte(`{"a":1}`), []byte("o"))
	f.Add("0", []byte{}, []byte{})
	f.Add("-3", []byte{0xff}, []byte{})
	f.Add("1e3", []byte{}, []byte{})
	f.Add("9223372036854775808", []byte{}, []byte{})
	f.Fuzz(func(t *testing.T, version string, value, pending []byte) {
		b.Do(time.Now(), "HSET", "weatherlight:kasmina:{oona.run.r}", "v", version, "d", string(value), "o", string(pending))
		record, err := records.Load(context.Background(), oona.RecordKey{Part: "kasmina", Run: "r"})
		if err != nil {
			if record.Version != 0 || record.Value != nil || record.Pending != nil {
				t.Fatalf("%v with error %v", record, err)
			}
			return
		}
		if record.Version < 1 || !bytes.Equal(record.Value, value) || !bytes.Equal(record.Pending, pending) {
			t.Fatalf("version %q: %v", version, record)
		}
	})
}
