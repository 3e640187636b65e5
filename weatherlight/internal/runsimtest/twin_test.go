package runsimtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/rueidis"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/signing"
	"github.com/esper-lite/weatherlight/trainer"
)

const (
	differences = 40  // sequences of calls
	calls       = 150 // in each
)

// twins are the simulation's store and the records of a Redis that are told the
// same. Versions and claims are random in part, so each knows its own.
type twins struct {
	t      *testing.T
	rng    *rand.Rand
	now    time.Time
	store  *store
	redis  *oona.Records
	raw    rueidis.Client
	known  map[oona.RecordKey][2]int64 // last versions: of the store, of Redis
	claims [][2]oona.DueRun
}

// TestStoreDoesWhatRecordsDo is what makes the store of the simulation
// trustworthy: every answer to every random call is the one of package oona on a
// Redis.
func TestStoreDoesWhatRecordsDo(t *testing.T) {
	server := redistest.Start(t)
	keyring, err := signing.NewKeyring("twins")
	if err != nil {
		t.Fatal(err)
	}
	client, err := oona.Connect(t.Context(), oona.Config{URL: server.URL, Keyring: keyring, Group: "twins", Consumer: "twin"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	option := rueidis.MustParseURL(server.URL)
	option.DisableCache = true
	raw, err := rueidis.NewClient(option)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(raw.Close)
	for seed := range uint64(differences) {
		if err := raw.Do(t.Context(), raw.B().Flushall().Build()).Error(); err != nil {
			t.Fatal(err)
		}
		w := &twins{
			t: t, rng: rand.New(rand.NewPCG(seed, 1)), now: epoch, redis: client.Records(trainer.Stream), raw: raw,
			known: make(map[oona.RecordKey][2]int64),
		}
		w.store = newStore(func() time.Time { return w.now }, w.rng.Int64N)
		for n := range calls {
			what, mine, theirs := w.step()
			if diff := cmp.Diff(theirs, mine); diff != "" {
				t.Fatalf("seed %d, call %d, %s (-redis +store):\n%s", seed, n, what, diff)
			}
		}
	}
}

func (w *twins) key() oona.RecordKey {
	return oona.RecordKey{Part: []string{"kasmina", "tamiyo"}[w.rng.IntN(2)], Run: fmt.Sprint("run ", w.rng.IntN(3))}
}

// at is a time that one of the two may be asked for, also between milliseconds.
func (w *twins) at() time.Time {
	if w.rng.IntN(6) == 0 {
		return time.Time{}
	}
	return w.now.Add(time.Duration(w.rng.IntN(60))*time.Second + time.Duration(w.rng.IntN(3))*300*time.Microsecond)
}

// step makes one call on both, and returns the answers.
func (w *twins) step() (what string, mine, theirs any) {
	w.now = w.now.Add(time.Duration(w.rng.IntN(10)) * time.Second)
	ctx, key := context.Background(), w.key()
	switch w.rng.IntN(8) {
	case 0, 1, 2:
		mine, theirs = w.save(ctx, key)
		return "save", mine, theirs
	case 3:
		theirs, err := w.redis.Load(ctx, key)
		mine := w.store.Load(key)
		return "load", w.seen(mine, w.known[key][0], nil), w.seen(theirs, w.known[key][1], err)
	case 4:
		versions := w.known[key]
		if w.rng.IntN(3) == 0 {
			versions[0]--
			versions[1]--
		}
		w.store.Settle(key, versions[0])
		return "settle", error(nil), w.redis.Settle(ctx, key, versions[1])
	case 5:
		at := w.at()
		w.store.Schedule(key.Part, key.Run, at)
		return "schedule", error(nil), w.redis.Schedule(ctx, key.Part, key.Run, at)
	case 6:
		mine, theirs = w.due(ctx, key.Part)
		return "due", mine, theirs
	default:
		mine, theirs = w.reschedule(ctx, key.Part)
		return "reschedule", mine, theirs
	}
}

// seen is a record whose version is told as how far it is from the known one.
func (w *twins) seen(r oona.Record, known int64, err error) any {
	return fmt.Sprintf("%d %q %q %v", r.Version-known, r.Value, r.Pending, err)
}

func (w *twins) save(ctx context.Context, key oona.RecordKey) (mine, theirs any) {
	versions := w.known[key]
	if w.rng.IntN(4) == 0 {
		versions[0]--
		versions[1]--
	}
	write := oona.RecordWrite{Key: key, Value: fmt.Append(nil, "value ", w.rng.IntN(100)), Due: w.at(), TTL: 1000 * time.Hour}
	if w.rng.IntN(2) == 0 {
		write.Pending = fmt.Append(nil, "pending ", w.rng.IntN(100))
	}
	for range w.rng.IntN(30) * w.rng.IntN(2) {
		write.Orders = append(write.Orders, &leyline.AdaptationCommand{CommandId: "order"})
	}
	a, b := write, write
	a.Version, b.Version = versions[0], versions[1]
	va, errA := w.store.Save(a)
	vb, errB := w.redis.Save(ctx, b)
	if errA == nil && errB == nil {
		w.known[key] = [2]int64{va, vb}
	}
	length, _ := w.raw.Do(ctx, w.raw.B().Xlen().Key(trainer.Stream(key.Run)).Build()).AsInt64()
	held := 0
	if stream := w.store.stream(key.Run); stream != nil {
		held = len(stream.entries)
	}
	known := w.known[key]
	return told(va, known[0], errA) + fmt.Sprint(held), told(vb, known[1], errB) + fmt.Sprint(length)
}

func told(version, known int64, err error) string {
	if conflict, ok := errors.AsType[*oona.ConflictError](err); ok {
		return fmt.Sprintf("conflict %d %d ", conflict.Expected-known, conflict.Found-known)
	}
	return fmt.Sprintf("%d %v ", version-known, err)
}

func (w *twins) due(ctx context.Context, part string) (mine, theirs any) {
	limit, hold := 1+w.rng.IntN(3), time.Duration(1+w.rng.IntN(20))*time.Second
	a := w.store.Due(part, w.now, limit, hold)
	b, err := w.redis.Due(ctx, part, w.now, limit, hold)
	names := func(due []oona.DueRun) (list []string) {
		for _, d := range due {
			list = append(list, fmt.Sprint(d.Run, d.At.UnixMilli()))
		}
		return list
	}
	if len(a) == len(b) {
		for i := range a {
			w.claims = append(w.claims, [2]oona.DueRun{a[i], b[i]})
		}
	}
	runsA := w.store.Runs(part, "", 10)
	runsB, _ := w.redis.Runs(ctx, part, "", 10)
	return fmt.Sprint(names(a), nil, runsA), fmt.Sprint(names(b), err, runsB)
}

func (w *twins) reschedule(ctx context.Context, part string) (mine, theirs any) {
	if len(w.claims) == 0 {
		return nil, nil
	}
	claim, at := w.claims[w.rng.IntN(len(w.claims))], w.at()
	w.store.Reschedule(part, claim[0], at)
	err := w.redis.Reschedule(ctx, part, claim[1], at)
	return error(nil), err
}
