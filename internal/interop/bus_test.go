package interop_test

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/internal/interop"
	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
)

const (
	rounds  = 3 // messages of each type
	patient = 30 * time.Second
)

// line is one message as the peer reads and prints it.
type line struct {
	Stream     string            `json:"stream"`
	Type       string            `json:"type"`
	Message    json.RawMessage   `json:"message"`
	Attributes map[string]string `json:"attributes,omitempty"`
}

func connect(t *testing.T, url string) *oona.Client {
	t.Helper()
	client, err := oona.Connect(context.Background(), oona.Config{URL: url, Group: "go", Keyring: keyring(t), FreshnessWindow: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// types lists the thirteen message types.
func types() []leyline.BusMessageType {
	var all []leyline.BusMessageType
	for number := range leyline.BusMessageType_name {
		if kind := leyline.BusMessageType(number); leyline.NewMessage(kind) != nil {
			all = append(all, kind)
		}
	}
	slices.Sort(all)
	return all
}

// filled returns messages of every type, as fresh as requests must be.
func filled(seed uint64) []proto.Message {
	rng := rand.New(rand.NewPCG(seed, 0))
	var all []proto.Message
	for _, kind := range types() {
		for range rounds {
			m := leyline.NewMessage(kind)
			interop.Fill(rng, m)
			if r, ok := m.(*leyline.KernelPrefetchRequest); ok {
				r.IssuedAt = timestamppb.Now()
			}
			all = append(all, m)
		}
	}
	return all
}

func TestEveryTypePublishedByPythonReachesOurHandlers(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client, peer := connect(t, server.URL), newPythonPeer(t, server.Addr)
	published := filled(1)
	lines := make([]any, len(published))
	for i, m := range published {
		text, err := protojson.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		lines[i] = line{Stream: client.Route(m, 0).Stream, Type: leyline.TypeOf(m).String(), Message: text}
	}
	peer.run(t, "publish", lines)
	got := consumeAll(t, client, len(published))
	if diff := cmp.Diff(byType(published), byType(got), protocmp.Transform()); diff != "" {
		t.Errorf("(-python +go):\n%s", diff)
	}
	if drops := client.Drops(); len(drops) != 0 {
		t.Errorf("refused: %v", drops)
	}
}

// consumeAll handles n messages of any type on any stream.
func consumeAll(t *testing.T, client *oona.Client, n int) []proto.Message {
	t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), patient)
	defer stop()
	var got collected[proto.Message]
	handler := func(_ context.Context, d *oona.Delivery) ([]oona.Message, error) {
		if d.Attributes["from"] != "python" {
			t.Errorf("attributes %v", d.Attributes)
		}
		if got.add(d.Payload) == n {
			stop()
		}
		return nil, nil
	}
	var consuming sync.WaitGroup
	for _, stream := range oona.DefaultStreams().Names() {
		table := make(map[leyline.BusMessageType]oona.Handler)
		for _, kind := range types() {
			if client.Route(leyline.NewMessage(kind), 0).Stream == stream {
				table[kind] = handler
			}
		}
		consuming.Go(func() {
			err := client.Consume(ctx, context.Background(), oona.Subscription{Stream: stream, Handlers: table, Concurrency: 1})
			if err != nil {
				t.Error(err)
			}
		})
	}
	consuming.Wait()
	return got.all
}

// byType groups messages; within a type they are in order.
func byType(messages []proto.Message) map[string][]proto.Message {
	grouped := make(map[string][]proto.Message)
	for _, m := range messages {
		kind := leyline.TypeOf(m).String()
		grouped[kind] = append(grouped[kind], m)
	}
	return grouped
}

func TestEveryTypePublishedByUsReachesPython(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client, peer := connect(t, server.URL), newPythonPeer(t, server.Addr)
	published := filled(2)
	counts := make(map[string]int)
	for _, m := range published {
		routed := client.Route(m, leyline.MessagePriority_MESSAGE_PRIORITY_NORMAL)
		counts[routed.Stream]++
		if err := client.Publish(context.Background(), routed); err != nil {
			t.Fatal(err)
		}
	}
	var asked []any
	for stream, n := range counts {
		asked = append(asked, map[string]any{"stream": stream, "count": n})
	}
	got := make(map[string][]proto.Message)
	for _, l := range decodeLines[line](t, peer.run(t, "consume", asked)) {
		m := leyline.NewMessage(leyline.BusMessageType(leyline.BusMessageType_value[l.Type]))
		if err := protojson.Unmarshal(l.Message, m); err != nil {
			t.Fatalf("%s: %v", l.Type, err)
		}
		got[l.Type] = append(got[l.Type], m)
		if l.Attributes["stream"] != l.Stream || l.Attributes["key_id"] != keyring(t).KeyID() {
			t.Errorf("%s: attributes %v", l.Type, l.Attributes)
		}
	}
	if diff := cmp.Diff(byType(published), got, protocmp.Transform()); diff != "" {
		t.Errorf("(-go +python):\n%s", diff)
	}
}

func TestFillLeavesNoFieldOut(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 0))
	for _, kind := range types() {
		seen := make(map[protoreflect.Name]bool)
		m := leyline.NewMessage(kind)
		for range 200 {
			filled := leyline.NewMessage(kind)
			interop.Fill(rng, filled)
			filled.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
				seen[f.Name()] = true
				return true
			})
		}
		if fields := m.ProtoReflect().Descriptor().Fields().Len(); len(seen) != fields {
			t.Errorf("%s: %d of %d fields were ever set", kind, len(seen), fields)
		}
	}
}
