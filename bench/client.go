package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/redis/rueidis"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/signing"
)

// answerTimeout ends a measurement whose answers do not come.
const answerTimeout = 10 * time.Second

// clientGroup is the consumer group in which answers are read.
const clientGroup = "bench-client"

// streams are where requests go and where their answers come from.
type streams struct {
	requests, ready string
}

// requester is the seeds' side of the kernel streams, without any library. What
// can be done before the clock starts is done before, and what can be checked
// after it stops is checked after: the figures are the service's.
type requester struct {
	client     rueidis.Client
	on         streams
	keyring    *signing.Keyring
	blueprints []string
	checksums  map[string]string // what each answer must say; nil: anything
}

// newRequester asks for the kernels whose checksums are given.
func newRequester(ctx context.Context, url string, on streams, checksums map[string]string) (*requester, error) {
	keyring, err := signing.NewKeyring(secret)
	if err != nil {
		return nil, err
	}
	client, err := connect(url)
	if err != nil {
		return nil, err
	}
	if err := createGroup(ctx, client, on.ready, clientGroup); err != nil {
		client.Close()
		return nil, err
	}
	r := &requester{client: client, on: on, keyring: keyring}
	for id := range checksums {
		r.blueprints = append(r.blueprints, id)
	}
	slices.Sort(r.blueprints)
	return r, nil
}

// requests are n signed requests, none of which was ever sent before.
func (r *requester) requests(n int) ([]entry, error) {
	entries := make([]entry, n)
	for i := range entries {
		var err error
		entries[i], err = seal(r.keyring, &leyline.KernelPrefetchRequest{
			RequestId:     fmt.Sprintf("prefetch-%016x%016x", rand.Uint64(), rand.Uint64()),
			BlueprintId:   r.blueprints[i%len(r.blueprints)],
			TrainingRunId: "bench",
			IssuedAt:      timestamppb.Now(),
		}, nil)
		if err != nil {
			return nil, err
		}
	}
	return entries, nil
}

// rate sends n requests, never more than inFlight unanswered, and returns the
// answers a second.
func (r *requester) rate(ctx context.Context, n, inFlight int) (float64, error) {
	entries, err := r.requests(n)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answered := make(chan int, n)
	sent := make(chan error, 1)
	begun := time.Now()
	go func() { sent <- r.sendAll(ctx, entries, inFlight, answered) }()
	answers, err := r.collect(ctx, n, answered)
	took := time.Since(begun)
	if err != nil {
		cancel()
	}
	if err := errors.Join(err, <-sent); err != nil {
		return 0, err
	}
	return float64(n) / took.Seconds(), r.checkAll(entries, answers)
}

// sendAll keeps inFlight requests unanswered, until all are sent.
func (r *requester) sendAll(ctx context.Context, entries []entry, inFlight int, answered <-chan int) error {
	room := inFlight
	for len(entries) > 0 {
		for room == 0 || len(answered) > 0 {
			select {
			case n := <-answered:
				room += n
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		n := min(room, len(entries))
		commands := make(rueidis.Commands, n)
		for i, e := range entries[:n] {
			commands[i] = add(r.client, r.on.requests, e)
		}
		if err := firstError(r.client.DoMulti(ctx, commands...)); err != nil {
			return fmt.Errorf("send requests: %w", err)
		}
		entries, room = entries[n:], room-n
	}
	return nil
}

// collect reads n answers and tells how many came at a time.
func (r *requester) collect(ctx context.Context, n int, answered chan<- int) ([]map[string]string, error) {
	answers := make([]map[string]string, 0, n)
	for len(answers) < n {
		read, err := r.read(ctx)
		if err != nil {
			return answers, fmt.Errorf("after %d answers: %w", len(answers), err)
		}
		for _, e := range read {
			answers = append(answers, e.FieldValues)
		}
		answered <- len(read)
	}
	return answers, nil
}

func (r *requester) read(ctx context.Context) ([]rueidis.XRangeEntry, error) {
	read, err := r.client.Do(ctx, r.readCommand()).AsXRead()
	if err != nil {
		return nil, fmt.Errorf("read answers: %w", err)
	}
	return read[r.on.ready], nil
}

// readCommand reads through a group: the embedded broker looks through the whole
// stream for a reader that only names an id.
func (r *requester) readCommand() rueidis.Completed {
	return r.client.B().Xreadgroup().Group(clientGroup, clientGroup).Count(1000).Block(answerTimeout.Milliseconds()).
		Noack().Streams().Key(r.on.ready).Id(">").Build()
}

// latencies sends n requests one after the other and returns how long each
// took, in milliseconds. A request travels in one pipeline with the blocked read
// of its answer, so that the client adds no round trip of its own.
func (r *requester) latencies(ctx context.Context, n int) ([]float64, error) {
	entries, err := r.requests(n)
	if err != nil {
		return nil, err
	}
	took := make([]float64, n)
	answers := make([]map[string]string, n)
	for i, e := range entries {
		begun := time.Now()
		replies := r.client.DoMulti(ctx, add(r.client, r.on.requests, e), r.readCommand())
		took[i] = time.Since(begun).Seconds() * 1e3
		if err := replies[0].Error(); err != nil {
			return nil, fmt.Errorf("send request: %w", err)
		}
		read, err := replies[1].AsXRead()
		if err != nil || len(read[r.on.ready]) != 1 {
			return nil, errors.Join(err, fmt.Errorf("%d answers to one request", len(read[r.on.ready])))
		}
		answers[i] = read[r.on.ready][0].FieldValues
	}
	return took, r.checkAll(entries, answers)
}

// checkAll makes sure that each request was answered once, and with the right
// checksum.
func (r *requester) checkAll(entries []entry, answers []map[string]string) error {
	waiting := make(map[string]bool, len(entries))
	for _, e := range entries {
		request := new(leyline.KernelPrefetchRequest)
		if err := open(r.keyring, map[string]string{"payload": e.payload, "signature": e.signature}, request); err != nil {
			return err
		}
		waiting[request.GetRequestId()] = true
	}
	for _, fields := range answers {
		ready := new(leyline.KernelArtifactReady)
		if err := open(r.keyring, fields, ready); err != nil {
			return fmt.Errorf("answer: %w", err)
		}
		if !waiting[ready.GetRequestId()] {
			return fmt.Errorf("answer to %q, which is not open", ready.GetRequestId())
		}
		delete(waiting, ready.GetRequestId())
		if want := r.checksums[ready.GetBlueprintId()]; r.checksums != nil && ready.GetChecksum() != want {
			return fmt.Errorf("checksum of %s is %s, want %s", ready.GetBlueprintId(), ready.GetChecksum(), want)
		}
	}
	return nil
}
