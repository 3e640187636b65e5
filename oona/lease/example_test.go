package lease_test

import (
	"context"
	"fmt"

	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/oona/embedded"
	"github.com/esper-lite/weatherlight/oona/lease"
	"github.com/esper-lite/weatherlight/signing"
)

// Example has two processes elect a leader, who then goes.
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
	places := make([]*lease.Lease, 2)
	for i, name := range []string{"a", "b"} {
		client, err := oona.Connect(ctx, oona.Config{URL: bus.URL(), Group: "trainers", Consumer: name, Keyring: keyring})
		if err != nil {
			fmt.Println(err)
			return
		}
		defer func() { _ = client.Close() }()
		places[i] = client.NewLease(lease.Config{Owner: "process-" + name})
		roll, err := places[i].Renew(ctx, nil)
		fmt.Println(name, "sees that", roll.Leader, "leads of", len(roll.Members), err)
	}
	fmt.Println("a goes:", places[0].Release(ctx))
	roll, err := places[1].Renew(ctx, nil)
	fmt.Println("b sees that", roll.Leader, "leads:", roll.Token > 0, err)
	// Output:
	// a sees that a leads of 1 <nil>
	// b sees that a leads of 2 <nil>
	// a goes: <nil>
	// b sees that b leads: true <nil>
}
