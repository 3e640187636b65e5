package oona_test

import (
	"bytes"
	"context"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
)

func orderStream(run string) string { return "oona.run." + run }

// anOrder is a signed order as a service issues it.
func anOrder(t testing.TB, number int) *leyline.AdaptationCommand {
	t.Helper()
	order := &leyline.AdaptationCommand{
		Version: 1, CommandId: "order-" + strconv.Itoa(number), CommandType: leyline.CommandType_COMMAND_SEED,
		TargetSeedId: "seed-1", IssuedBy: "kasmina", IssuedAt: timestamppb.Now(), ExecutionDeadlineMs: 5000,
		Annotations: map[string]string{
			"training_run_id": "run-1", "trainer_id": "0123456789abcdef", "order": strconv.Itoa(number),
			"stage": "SEED_STAGE_BLENDING", "slot": "layer2", "policy_version": "1", "reason": "gates passed",
		},
		Payload: &leyline.AdaptationCommand_SeedOperation{SeedOperation: &leyline.CommandSeedOperation{
			Operation: leyline.SeedOperation_SEED_OP_START_GRAFTING, BlueprintId: "BP001"}},
	}
	if err := keyring(t).SignCommand(order); err != nil {
		t.Fatal(err)
	}
	return order
}

// BenchmarkSaveRecord writes records of 3 KB with one order each: as many at once
// as a service handles, and one after the other.
func BenchmarkSaveRecord(b *testing.B) {
	order := anOrder(b, 1)
	for name, test := range map[string]struct {
		writers int
		orders  []*leyline.AdaptationCommand
		due     bool
	}{
		"alone": {1, []*leyline.AdaptationCommand{order}, false}, "together": {64, []*leyline.AdaptationCommand{order}, false},
		"together without order": {64, nil, false}, "together and due": {64, []*leyline.AdaptationCommand{order}, true},
	} {
		b.Run(name, func(b *testing.B) {
			c := connect(b, redistest.Start(b).URL, nil)
			benchSaves(b, c.Records(orderStream), test.writers, oona.RecordWrite{Orders: test.orders}, test.due)
		})
	}
}

func benchSaves(b *testing.B, records *oona.Records, writers int, write oona.RecordWrite, due bool) {
	b.Helper()
	write.Value = bytes.Repeat([]byte(`{"seed":"s"}`), 256)
	var next, count atomic.Int64
	b.ReportAllocs()
	done := make(chan error, writers)
	b.ResetTimer()
	for range writers {
		go func() {
			w := write
			w.Key = oona.RecordKey{Part: "kasmina", Run: "run-" + strconv.FormatInt(next.Add(1), 10)}
			for count.Add(1) <= int64(b.N) {
				if due {
					w.Due = time.Now().Add(time.Minute)
				}
				version, err := records.Save(context.Background(), w)
				if err != nil {
					done <- err
					return
				}
				w.Version = version
			}
			done <- nil
		}()
	}
	for range writers {
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "saves/s")
}

func BenchmarkLoadRecord(b *testing.B) {
	c := connect(b, redistest.Start(b).URL, nil)
	records := c.Records(orderStream)
	key := oona.RecordKey{Part: "kasmina", Run: "run"}
	if _, err := records.Save(context.Background(), oona.RecordWrite{Key: key, Value: make([]byte, 3<<10)}); err != nil {
		b.Fatal(err)
	}
	b.SetParallelism(32)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := records.Load(context.Background(), key); err != nil {
				b.Error(err)
			}
		}
	})
}
