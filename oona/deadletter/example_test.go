package deadletter_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/oona/embedded"
	"github.com/esper-lite/weatherlight/signing"
)

// Example looks at a message that its handler gave up, and publishes it again.
func Example() {
	redis, err := embedded.Start(embedded.Config{})
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
	handled, ended := make(chan string), make(chan error)
	go func() {
		ended <- bus.Consume(fetch, context.Background(), oona.Subscription{
			Stream: oona.DefaultStreams().Normal,
			Handlers: map[leyline.BusMessageType]oona.Handler{
				leyline.TypeOf(&leyline.AdaptationCommand{}): func(_ context.Context, d *oona.Delivery) ([]oona.Message, error) {
					if d.Attributes["replayed_from"] != "" {
						handled <- "at the second time"
						return nil, nil
					}
					return nil, oona.Permanent(errors.New("no such seed"))
				},
			},
		})
	}()
	err = bus.Publish(fetch, oona.Message{Payload: &leyline.AdaptationCommand{CommandId: "one"}})
	for err == nil {
		letters, failed := bus.DeadLetters().List(fetch, "", 10)
		if err = failed; len(letters) > 0 {
			fmt.Println(letters[0].Reason, letters[0].Error)
			_, err = bus.DeadLetters().Replay(fetch, letters[0].ID)
			break
		}
	}
	fmt.Println(err)
	fmt.Println("handled", <-handled)
	stop()
	fmt.Println("ended:", <-ended)
	// Output:
	// permanent no such seed
	// <nil>
	// handled at the second time
	// ended: <nil>
}
