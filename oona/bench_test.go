package oona_test

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/rueidis"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
)

const benchBatch = 100

func benchPacket() *leyline.TelemetryPacket {
	return &leyline.TelemetryPacket{
		PacketId: "telemetry-0123456789", SourceSubsystem: "bench",
		Metrics: []*leyline.MetricPoint{{Name: "loss", Value: 0.25, Unit: "1"}, {Name: strings.Repeat("x", 200), Value: 1}},
	}
}

func benchClient(b *testing.B, url string) *oona.Client {
	b.Helper()
	return connect(b, url, func(cfg *oona.Config) { cfg.MaxStreamLength = 2_000_000 })
}

func benchMessages() []oona.Message {
	msgs := make([]oona.Message, benchBatch)
	for i := range msgs {
		msgs[i] = oona.Message{Stream: "oona.telemetry", Payload: benchPacket()}
	}
	return msgs
}

func perMessage(b *testing.B) {
	b.Helper()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}

func BenchmarkPublish(b *testing.B) {
	c := benchClient(b, redistest.Start(b).URL)
	msgs := benchMessages()
	b.ReportAllocs()
	for b.Loop() {
		if err := c.Publish(context.Background(), msgs...); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*benchBatch)/b.Elapsed().Seconds(), "msg/s")
}

func BenchmarkPublishOne(b *testing.B) {
	c := benchClient(b, redistest.Start(b).URL)
	packet := benchPacket()
	b.ReportAllocs()
	for b.Loop() {
		if err := c.PublishTelemetry(context.Background(), packet, 0); err != nil {
			b.Fatal(err)
		}
	}
	perMessage(b)
}

func rawClient(b testing.TB, url string) rueidis.Client {
	b.Helper()
	option := rueidis.MustParseURL(url)
	option.DisableCache, option.ForceSingleClient = true, true
	raw, err := rueidis.NewClient(option)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(raw.Close)
	return raw
}

func rawAdd(b *testing.B, raw rueidis.Client, n int) {
	b.Helper()
	payload, signature := strings.Repeat("p", 400), strings.Repeat("s", 44)
	for ; n > 0; n -= benchBatch {
		commands := make(rueidis.Commands, benchBatch)
		for i := range commands {
			commands[i] = raw.B().Xadd().Key("raw").Maxlen().Almost().Threshold("2000000").Id("*").
				FieldValue().FieldValue("payload", payload).FieldValue("signature", signature).Build()
		}
		for _, reply := range raw.DoMulti(context.Background(), commands...) {
			if err := reply.Error(); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkRawPublish(b *testing.B) {
	raw := rawClient(b, redistest.Start(b).URL)
	b.ReportAllocs()
	for b.Loop() {
		rawAdd(b, raw, benchBatch)
	}
	b.ReportMetric(float64(b.N*benchBatch)/b.Elapsed().Seconds(), "msg/s")
}

func BenchmarkConsume(b *testing.B) { benchConsume(b, redistest.Start(b).URL) }

func benchConsume(b *testing.B, url string) {
	b.Helper()
	c := benchClient(b, url)
	msgs := benchMessages()
	for n := 0; n < b.N; n += benchBatch {
		if err := c.Publish(context.Background(), msgs...); err != nil {
			b.Fatal(err)
		}
	}
	benchHandle(b, c, "oona.telemetry", leyline.BusMessageType_BUS_MESSAGE_TYPE_TELEMETRY)
}

// benchHandle consumes b.N messages, each of which is answered with answers.
func benchHandle(b *testing.B, c *oona.Client, stream string, kind leyline.BusMessageType, answers ...oona.Message) {
	b.Helper()
	var left atomic.Int64
	left.Store(int64(b.N))
	done := make(chan struct{})
	handle := func(context.Context, *oona.Delivery) ([]oona.Message, error) {
		if left.Add(-1) == 0 {
			close(done)
		}
		return answers, nil
	}
	fetch, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	running.Go(func() {
		_ = c.Consume(fetch, context.Background(), oona.Subscription{
			Stream: stream, Handlers: map[leyline.BusMessageType]oona.Handler{kind: handle}})
	})
	<-done
	stop()
	running.Wait()
	b.StopTimer()
	perMessage(b)
}

func BenchmarkRawConsume(b *testing.B) {
	raw := rawClient(b, redistest.Start(b).URL)
	rawAdd(b, raw, b.N)
	ctx := context.Background()
	if err := raw.Do(ctx, raw.B().XgroupCreate().Key("raw").Group("g").Id("0").Build()).Error(); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; {
		read, err := raw.Do(ctx, raw.B().Xreadgroup().Group("g", "c").Count(benchBatch).Streams().Key("raw").Id(">").Build()).AsXReadSlices()
		if err != nil {
			b.Fatal(err)
		}
		ids := make([]string, 0, benchBatch)
		for _, e := range read["raw"] {
			ids = append(ids, e.ID)
		}
		n += len(ids)
		if err := raw.Do(ctx, raw.B().Xack().Key("raw").Group("g").Id(ids...).Build()).Error(); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	perMessage(b)
}

func BenchmarkRequestAnswer(b *testing.B) {
	c := benchClient(b, redistest.Start(b).URL)
	requests := make([]oona.Message, b.N)
	for i := range requests {
		requests[i] = oona.Message{Payload: &leyline.KernelArtifactReady{RequestId: strconv.Itoa(i)}}
	}
	for rest := requests; len(rest) > 0; {
		n := min(len(rest), benchBatch)
		if err := c.Publish(context.Background(), rest[:n]...); err != nil {
			b.Fatal(err)
		}
		rest = rest[n:]
	}
	benchHandle(b, c, "oona.kernels.ready", leyline.BusMessageType_BUS_MESSAGE_TYPE_KERNEL_PREFETCH_READY,
		oona.Message{Payload: &leyline.KernelArtifactError{Reason: "x"}})
}
