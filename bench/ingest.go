package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/redis/rueidis"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/internal/freeport"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/signing"
	"github.com/esper-lite/weatherlight/trainer"
)

// nissaGroup is the consumer group of Nissa; the peer has one of its own beside it.
const nissaGroup = "nissa-service"

func ingestRows() []row {
	return []row{
		{"nissa_ingest", "packets/s", higher, nil},
		{"nissa_ingest_cpu_us", "us/packet", lower, nil},
		{"nissa_ingest_reports", "reports/s", higher, nil},
	}
}

// ingestion is Nissa on a store of its own, and the bus that it reads.
type ingestion struct {
	*bench
	nissa   *service
	client  rueidis.Client
	keyring *signing.Keyring
}

// measureIngest has Nissa take in what lies on a stream, beside a loop that reads, verifies,
// decodes and acknowledges the same.
func measureIngest(ctx context.Context, b *bench) (err error) {
	i := &ingestion{bench: b}
	if i.keyring, err = signing.NewKeyring(secret); err != nil {
		return err
	}
	if i.client, err = connect(b.redis.url); err != nil {
		return err
	}
	defer i.client.Close()
	if i.nissa, err = b.startNissa(ctx, filepath.Join(b.folder, "nissa")); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, i.nissa.quit()) }()
	for _, kind := range []struct {
		row    string
		n      int
		stream string
		make   func(batch uint32, n int) proto.Message
	}{
		{"nissa_ingest", b.pick(100_000, 5_000), busStream, tenMetrics},
		{"nissa_ingest_reports", b.pick(20_000, 2_000), "oona.normal", reportOfFour},
	} {
		if !b.table.wants(kind.row) {
			continue
		}
		turns := []turn{
			{ours, func(string) error { return i.drain(ctx, kind.row, kind.stream, kind.n, kind.make) }},
			{bare, func(string) error { return i.drainBare(ctx, kind.row, kind.stream, kind.n, kind.make) }},
		}
		warm := func() error { return i.drain(ctx, "", kind.stream, kind.n/10, kind.make) }
		if err := b.interleave(turns, warm); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) startNissa(ctx context.Context, folder string) (*service, error) {
	if err := errors.Join(os.MkdirAll(folder, 0o755), b.build(ctx)); err != nil {
		return nil, fmt.Errorf("prepare nissa: %w", err)
	}
	addr, let, err := freeport.Hold()
	if err != nil {
		return nil, err
	}
	defer let() // it listens by then
	s := &service{httpAddr: addr}
	environment := []string{"ESPER_LEYLINE_SECRET=" + secret, "REDIS_URL=" + b.redis.url, "NISSA_HTTP_ADDR=" + addr}
	if s.child, err = startChild(b.tools.nissa, nil, environment, folder); err != nil {
		return nil, err
	}
	if err := poll(ctx, s.ready); err != nil {
		_, stopErr := s.stop()
		return nil, errors.Join(fmt.Errorf("nissa is not ready: %w\n%s", err, s.output), stopErr)
	}
	return s, nil
}

// tenMetrics is a packet of ten points, each named with a label.
func tenMetrics(batch uint32, n int) proto.Message {
	packet := &leyline.TelemetryPacket{PacketId: fmt.Sprintf("telemetry-%08x-%d", batch, n), SourceSubsystem: fmt.Sprint("bench-", n%8),
		Timestamp: timestamppb.Now()}
	for i := range 10 {
		packet.Metrics = append(packet.Metrics, &leyline.MetricPoint{
			Name: fmt.Sprint("bench.figure_", i), Value: float64(n), Unit: "ms", Attributes: map[string]string{"worker": fmt.Sprint(n % 4)},
		})
	}
	return packet
}

// reportOfFour is a report of one of 100 runs with four seeds.
func reportOfFour(batch uint32, n int) proto.Message {
	state := &leyline.SystemStatePacket{
		PacketId:      fmt.Sprintf("state-%08x-%d", batch, n),
		TrainingRunId: fmt.Sprintf("run-%08x-%d", batch, n%100), CurrentEpoch: uint32(n / 100),
		GlobalStep: uint64(n), ValidationLoss: 1 / float32(n+1), ValidationAccuracy: 0.5, TrainingLoss: 0.5, SourceSubsystem: "bench",
		TrainingMetrics: map[string]float32{"lr": 0.1},
	}
	for i := range 4 {
		state.SeedStates = append(state.SeedStates, &leyline.SeedState{
			SeedId: fmt.Sprint("seed-", i), Stage: leyline.SeedLifecycleStage_SEED_STAGE_BLENDING,
			Metrics: map[string]float32{
				trainer.MetricAlpha: 0.5, trainer.MetricLossBefore: 1, trainer.MetricLossAfter: 0.9, trainer.MetricTrainLoss: 0.8,
			},
		})
	}
	return state
}

// fill puts n messages on a stream, none of which was ever there.
func (i *ingestion) fill(ctx context.Context, stream string, n int, message func(uint32, int) proto.Message) error {
	batch := rand.Uint32()
	var commands rueidis.Commands
	for at := range n {
		e, err := seal(i.keyring, message(batch, at), nil)
		if err != nil {
			return err
		}
		commands = append(commands, i.client.B().Xadd().Key(stream).Id("*").
			FieldValue().FieldValue("payload", e.payload).FieldValue("signature", e.signature).Build())
	}
	for part := range slices.Chunk(commands, 500) {
		if err := firstError(i.client.DoMulti(ctx, part...)); err != nil {
			return fmt.Errorf("fill %s: %w", stream, err)
		}
	}
	return nil
}

// drain fills the stream while Nissa is stopped, and takes how fast it takes all in.
func (i *ingestion) drain(ctx context.Context, row, stream string, n int, message func(uint32, int) proto.Message) error {
	process := i.nissa.command.Process
	if err := process.Signal(syscall.SIGSTOP); err != nil {
		return fmt.Errorf("stop nissa: %w", err)
	}
	err := i.fill(ctx, stream, n, message)
	before, cpuErr := i.nissa.cpuTime()
	begun := time.Now()
	if err := errors.Join(err, cpuErr, process.Signal(syscall.SIGCONT)); err != nil {
		return err
	}
	if err := i.settled(ctx, stream); err != nil {
		return err
	}
	took := time.Since(begun)
	after, err := i.nissa.cpuTime()
	if err != nil || row == "" {
		return err
	}
	i.table.sample(row, ours, float64(n)/took.Seconds())
	if row == "nissa_ingest" {
		i.table.sample("nissa_ingest_cpu_us", ours, (after-before).Seconds()*1e6/float64(n))
	}
	return i.trim(ctx, stream)
}

// settled waits until everything is acknowledged, and so in the store.
func (i *ingestion) settled(ctx context.Context, stream string) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(2 * time.Minute); ; <-tick.C {
		waiting, err := waitingIn(ctx, i.client, stream, nissaGroup)
		if err != nil || waiting == 0 {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d messages are not taken in", waiting)
		}
	}
}

func (i *ingestion) trim(ctx context.Context, stream string) error {
	return i.client.Do(ctx, i.client.B().Xtrim().Key(stream).Maxlen().Threshold("0").Build()).Error()
}

// drainBare reads, verifies, decodes and acknowledges as many messages, and keeps nothing.
func (i *ingestion) drainBare(ctx context.Context, row, stream string, n int, message func(uint32, int) proto.Message) error {
	const own = "bench.ingest"
	if err := errors.Join(i.fill(ctx, own, n, message), createGroup(ctx, i.client, own, bare)); err != nil {
		return err
	}
	begun := time.Now()
	for left := n; left > 0; {
		read, err := i.client.Do(ctx, i.client.B().Xreadgroup().Group(bare, bare).Count(500).Streams().Key(own).Id(">").Build()).AsXRead()
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		ids := make([]string, 0, len(read[own]))
		for _, e := range read[own] {
			into := proto.Message(new(leyline.TelemetryPacket))
			if stream != busStream {
				into = new(leyline.SystemStatePacket)
			}
			if err := open(i.keyring, e.FieldValues, into); err != nil {
				return err
			}
			ids = append(ids, e.ID)
		}
		if err := i.client.Do(ctx, i.client.B().Xack().Key(own).Group(bare).Id(ids...).Build()).Error(); err != nil {
			return fmt.Errorf("acknowledge: %w", err)
		}
		left -= len(ids)
	}
	i.table.sample(row, bare, float64(n)/time.Since(begun).Seconds())
	return i.client.Do(ctx, i.client.B().Del().Key(own).Build()).Error()
}
