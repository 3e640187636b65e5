package leyline_test

import (
	"fmt"

	"github.com/esper-lite/weatherlight/leyline"
)

// ExampleTypeOf goes from a message to its type on the bus, and back.
func ExampleTypeOf() {
	kind := leyline.TypeOf(&leyline.SystemStatePacket{})
	fmt.Println(kind)
	fmt.Printf("%T\n", leyline.NewMessage(kind))
	// Output:
	// BUS_MESSAGE_TYPE_SYSTEM_STATE
	// *leyline.SystemStatePacket
}
