package admin_test

import (
	"context"
	"fmt"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/oona/embedded"
	"github.com/esper-lite/weatherlight/signing"
)

// Example looks at the streams that there are. It joins no group.
func Example() {
	bus, err := embedded.Start(embedded.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer bus.Close()
	keyring, err := signing.NewKeyring("the secret of every process on the bus")
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	client, err := oona.Connect(ctx, oona.Config{URL: bus.URL(), Group: "operators", Keyring: keyring})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = client.Close() }()
	if err := client.Publish(ctx, oona.Message{Payload: &leyline.AdaptationCommand{CommandId: "one"}}); err != nil {
		fmt.Println(err)
		return
	}
	streams, err := client.Admin().Streams(ctx)
	for _, s := range streams {
		fmt.Println(s.Name, "has", s.Entries, "entry and", len(s.Groups), "groups")
	}
	fmt.Println(err)
	// Output:
	// oona.normal has 1 entry and 0 groups
	// <nil>
}
