package oona_test

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/oona/embedded"
	"github.com/esper-lite/weatherlight/signing"
)

// library answers every kernel request. What it returns is published together
// with the acknowledgement of the request: a crash between the two can neither
// lose the answer nor send it twice.
func library(streams oona.Streams) oona.Subscription {
	return oona.Subscription{
		Stream: streams.KernelRequests,
		Handlers: map[leyline.BusMessageType]oona.Handler{
			leyline.TypeOf(&leyline.KernelPrefetchRequest{}): func(_ context.Context, d *oona.Delivery) ([]oona.Message, error) {
				request, ok := d.Payload.(*leyline.KernelPrefetchRequest)
				if !ok {
					return nil, oona.Permanent(fmt.Errorf("%T is no request", d.Payload))
				}
				answer := &leyline.KernelArtifactReady{RequestId: request.GetRequestId(), BlueprintId: request.GetBlueprintId()}
				return []oona.Message{{Stream: streams.KernelReady, Payload: answer}}, nil
			},
		},
	}
}

// trainer hands each answer on.
func trainer(streams oona.Streams, got chan<- proto.Message) oona.Subscription {
	return oona.Subscription{
		Stream: streams.KernelReady,
		Group:  "trainer",
		Handlers: map[leyline.BusMessageType]oona.Handler{
			leyline.TypeOf(&leyline.KernelArtifactReady{}): func(_ context.Context, d *oona.Delivery) ([]oona.Message, error) {
				got <- d.Payload
				return nil, nil
			},
		},
	}
}

// Example asks for a kernel and reads the answer, with both ends in one process.
func Example() {
	redis, err := embedded.Start(embedded.Config{}) // the address of any Redis will do
	if err != nil {
		fmt.Println(err)
		return
	}
	defer redis.Close()
	keyring, err := signing.NewKeyring("the secret of every process on the bus")
	if err != nil {
		fmt.Println(err)
		return
	}
	fetch, stop := context.WithCancel(context.Background())
	defer stop()
	bus, err := oona.Connect(fetch, oona.Config{URL: redis.URL(), Group: "library", Keyring: keyring})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = bus.Close() }()

	// Consumers take nothing new once fetch is done, and finish on the second
	// context, which outlives it.
	streams, got, stopped := oona.DefaultStreams(), make(chan proto.Message, 1), make(chan error)
	for _, sub := range []oona.Subscription{library(streams), trainer(streams, got)} {
		go func() { stopped <- bus.Consume(fetch, context.Background(), sub) }()
	}
	err = bus.PublishKernelPrefetchRequest(fetch, &leyline.KernelPrefetchRequest{
		RequestId: "request-1", BlueprintId: "BP001", IssuedAt: timestamppb.Now(),
	})
	fmt.Println("published:", err)
	if ready, ok := (<-got).(*leyline.KernelArtifactReady); ok {
		fmt.Println(ready.GetRequestId(), "answered for", ready.GetBlueprintId())
	}
	stop()
	fmt.Println("stopped:", <-stopped, <-stopped)
	// Output:
	// published: <nil>
	// request-1 answered for BP001
	// stopped: <nil> <nil>
}
