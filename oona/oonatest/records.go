package oonatest

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
)

const orderStream = "oona.run.r"

var recordKey = oona.RecordKey{Part: "kasmina", Run: "r"}

func (b *bus) records(c *oona.Client) *oona.Records {
	return c.Records(func(run string) string { return "oona.run." + run })
}

func order(number int) *leyline.AdaptationCommand {
	return &leyline.AdaptationCommand{CommandId: strconv.Itoa(number), IssuedBy: "kasmina"}
}

func (b *bus) save(r *oona.Records, w oona.RecordWrite) int64 {
	b.t.Helper()
	version, err := r.Save(context.Background(), w)
	if err != nil {
		b.t.Fatal(err)
	}
	return version
}

func (b *bus) load(r *oona.Records, key oona.RecordKey) oona.Record {
	b.t.Helper()
	record, err := r.Load(context.Background(), key)
	if err != nil {
		b.t.Fatal(err)
	}
	return record
}

// isConflict reports whether an error says that the wanted version was found.
func isConflict(err error, expected, found int64) bool {
	conflict, is := errors.AsType[*oona.ConflictError](err)
	return is && *conflict == oona.ConflictError{Key: recordKey, Expected: expected, Found: found}
}

func testRecordIsReadAsItWasWritten(t *testing.T, b *bus) {
	r := b.records(b.client(nil))
	if record := b.load(r, recordKey); record.Version != 0 || record.Value != nil || record.Pending != nil {
		t.Errorf("a record that nobody wrote is %v", record)
	}
	value := []byte("{\"odd\":\"\x00\xff\r\n\"}")
	first := b.save(r, oona.RecordWrite{Key: recordKey, Value: value, Pending: []byte("out")})
	want := oona.Record{Version: first, Value: value, Pending: []byte("out")}
	b.same("record", want, b.load(r, recordKey))
	other := oona.RecordKey{Part: "tamiyo", Run: recordKey.Run}
	if record := b.load(r, other); record.Version != 0 {
		t.Errorf("the record of another part is %v", record)
	}
	second := b.save(r, oona.RecordWrite{Key: recordKey, Version: first, Value: []byte("v"), TTL: time.Hour})
	if second <= first {
		t.Errorf("version %d follows %d", second, first)
	}
	b.same("record", oona.Record{Version: second, Value: []byte("v")}, b.load(r, recordKey))
	if ms, err := b.do("PTTL", "weatherlight:kasmina:{oona.run.r}").AsInt64(); err != nil || ms < 3_500_000 || ms > 3_600_000 {
		t.Errorf("the record lives for %d ms, %v", ms, err)
	}
}

func testRecordOfAnotherVersionIsAConflict(t *testing.T, b *bus) {
	r, ctx := b.records(b.client(nil)), context.Background()
	if _, err := r.Save(ctx, oona.RecordWrite{Key: recordKey, Version: 7}); !isConflict(err, 7, 0) {
		t.Errorf("a write upon nothing: %v", err)
	}
	first := b.save(r, oona.RecordWrite{Key: recordKey, Value: []byte("one")})
	if _, err := r.Save(ctx, oona.RecordWrite{Key: recordKey, Value: []byte("x"), Orders: []*leyline.AdaptationCommand{order(1)}}); !isConflict(err, 0, first) {
		t.Errorf("a second beginning: %v", err)
	}
	second := b.save(r, oona.RecordWrite{Key: recordKey, Version: first, Value: []byte("two"), Pending: []byte("o")})
	if _, err := r.Save(ctx, oona.RecordWrite{Key: recordKey, Version: first, Value: []byte("x")}); !isConflict(err, first, second) {
		t.Errorf("a write upon an old version: %v", err)
	}
	if err := r.Settle(ctx, recordKey, first); err != nil {
		t.Errorf("settling an old version: %v", err)
	}
	want := oona.Record{Version: second, Value: []byte("two"), Pending: []byte("o")}
	b.same("record", want, b.load(r, recordKey))
	if n := len(b.entries(orderStream)); n != 0 {
		t.Errorf("a write that was refused left %d orders", n)
	}
}

func testRecordThatBeginsAnew(t *testing.T, b *bus) {
	r, ctx := b.records(b.client(nil)), context.Background()
	version := b.save(r, oona.RecordWrite{Key: recordKey, Value: []byte("first life"), Pending: []byte("o")})
	if err := r.Settle(ctx, recordKey, version); err != nil {
		t.Fatal(err)
	}
	b.same("settled record", oona.Record{Version: version, Value: []byte("first life")}, b.load(r, recordKey))
	b.must("DEL", "weatherlight:kasmina:{oona.run.r}")
	if record := b.load(r, recordKey); record.Version != 0 {
		t.Errorf("a record that is gone is %v", record)
	}
	if next := b.save(r, oona.RecordWrite{Key: recordKey, Value: []byte("second life")}); next <= version {
		t.Errorf("version %d follows %d", next, version)
	}
	if _, err := r.Save(ctx, oona.RecordWrite{Key: recordKey, Version: version}); err == nil {
		t.Error("a decision on the first life was written over the second")
	}
}

func testRecordAndOrdersAreOneStep(t *testing.T, b *bus) {
	c := b.client(nil)
	r := b.records(c)
	var version int64
	for n := range 70 {
		version = b.save(r, oona.RecordWrite{Key: recordKey, Version: version, Orders: []*leyline.AdaptationCommand{order(2 * n), order(2*n + 1)}})
	}
	entries := b.entries(orderStream)
	if len(entries) != 64 {
		t.Errorf("%d orders are kept, want the last 64", len(entries))
	}
	for _, e := range entries {
		if len(e.FieldValues) != 2 || b.ring.VerifyEnvelope([]byte(e.FieldValues["payload"]), e.FieldValues["signature"]) != nil {
			t.Fatalf("order %v", e)
		}
	}
	if ms, err := b.do("PTTL", orderStream).AsInt64(); err != nil || ms < 86_000_000 || ms > 86_400_000 {
		t.Errorf("the orders live for %d ms, %v", ms, err)
	}
	b.must("DEL", orderStream)
	b.must("SET", orderStream, "not a stream")
	_, err := r.Save(context.Background(), oona.RecordWrite{Key: recordKey, Version: version, Value: []byte("x"), Orders: []*leyline.AdaptationCommand{order(1)}})
	if !errors.Is(err, oona.ErrDamaged) {
		t.Errorf("orders that cannot be stored: %v", err)
	}
	if record := b.load(r, recordKey); record.Version != version || len(record.Value) != 0 {
		t.Errorf("a record was written without its orders: %v", record)
	}
}

func testRecordsAreBounded(t *testing.T, b *bus) {
	r := b.records(b.client(func(cfg *oona.Config) { cfg.MaxRecord, cfg.MaxPayload = 1000, 2000 }))
	large := order(1)
	large.Annotations = map[string]string{"x": string(make([]byte, 2000))}
	orders := make([]*leyline.AdaptationCommand, 65)
	for i := range orders {
		orders[i] = order(i)
	}
	for name, test := range map[string]struct {
		write oona.RecordWrite
		want  error
	}{
		"large":         {oona.RecordWrite{Value: make([]byte, 900), Pending: make([]byte, 101)}, oona.ErrTooLarge},
		"large order":   {oona.RecordWrite{Orders: []*leyline.AdaptationCommand{large}}, oona.ErrTooLarge},
		"many orders":   {oona.RecordWrite{Orders: orders}, oona.ErrTooLarge},
		"illegible one": {oona.RecordWrite{Orders: []*leyline.AdaptationCommand{{CommandId: "\xff"}}}, oona.ErrNotPublishable},
	} {
		test.write.Key = recordKey
		if _, err := r.Save(context.Background(), test.write); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	b.save(r, oona.RecordWrite{Key: recordKey, Value: make([]byte, 900), Pending: make([]byte, 100), Orders: orders[:64]})
}

// Each of many writers counts one up, again and again: no count is lost, and each
// has its order on the stream, once.
func testRecordsInARace(t *testing.T, b *bus) {
	const writers, each = 8, 8
	var conflicts atomic.Int64
	var running sync.WaitGroup
	for range writers {
		r := b.records(b.client(nil))
		running.Go(func() {
			for n := 0; n < each; {
				record := b.load(r, recordKey)
				count, _ := strconv.Atoi(string(record.Value))
				_, err := r.Save(context.Background(), oona.RecordWrite{Key: recordKey, Version: record.Version,
					Value: strconv.AppendInt(nil, int64(count+1), 10), Orders: []*leyline.AdaptationCommand{order(count + 1)}})
				switch _, conflict := errors.AsType[*oona.ConflictError](err); {
				case err == nil:
					n++
				case conflict:
					conflicts.Add(1)
				default:
					t.Errorf("save: %v", err)
					return
				}
			}
		})
	}
	running.Wait()
	r := b.records(b.client(nil))
	if record := b.load(r, recordKey); string(record.Value) != strconv.Itoa(writers*each) {
		t.Errorf("counted to %s, after %d conflicts", record.Value, conflicts.Load())
	}
	numbers := make(map[string]int)
	b.follow(b.client(nil), func(o *leyline.AdaptationCommand) { numbers[o.GetCommandId()]++ }, writers*each)
	for number := range writers * each {
		if n := numbers[strconv.Itoa(number+1)]; n != 1 {
			t.Errorf("order %d went out %d times", number+1, n)
		}
	}
}

func testRecordsSurviveAKill(t *testing.T, b *bus) {
	c := b.client(nil)
	r := b.records(c)
	value := bytes.Repeat([]byte("x"), 3000)
	version := b.save(r, oona.RecordWrite{Key: recordKey, Value: value, Orders: []*leyline.AdaptationCommand{order(1)}, Due: time.Now()})
	b.Restart()
	if record := b.load(r, recordKey); record.Version != version || !bytes.Equal(record.Value, value) {
		t.Errorf("after the restart the record is version %d of %d bytes", record.Version, len(record.Value))
	}
	next := b.save(r, oona.RecordWrite{Key: recordKey, Version: version, Value: value, Orders: []*leyline.AdaptationCommand{order(2)}})
	if next <= version || len(b.entries(orderStream)) != 2 {
		t.Errorf("version %d follows %d, with %d orders", next, version, len(b.entries(orderStream)))
	}
	if due, err := r.Due(context.Background(), "kasmina", time.Now(), 10, time.Minute); err != nil || len(due) != 1 {
		t.Errorf("due are %v, %v", due, err)
	}
}
