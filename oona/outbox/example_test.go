package outbox_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/oona/outbox"
)

// one takes a message, and lets nothing more through.
type one struct{ got chan oona.Message }

func (o one) Publish(_ context.Context, messages ...oona.Message) error {
	for _, m := range messages {
		o.got <- m
	}
	return nil
}

// Example puts a message into a file, from where it goes to the bus, also after a kill between
// the two.
func Example() {
	folder, err := os.MkdirTemp("", "outbox-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(folder)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	box, err := outbox.Open(ctx, outbox.Config{File: filepath.Join(folder, "outbox.db")})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = box.Close() }()
	fmt.Println("on disk:", box.Put(ctx, oona.Message{Payload: &leyline.FieldReport{ReportId: "one"}}))
	bus, ended := one{make(chan oona.Message, 1)}, make(chan error)
	go func() { ended <- box.Run(ctx, bus) }()
	fmt.Println("on the bus:", leyline.TypeOf((<-bus.got).Payload))
	stop()
	fmt.Println("ended:", <-ended)
	// Output:
	// on disk: <nil>
	// on the bus: BUS_MESSAGE_TYPE_FIELD_REPORT
	// ended: <nil>
}
