package weatherlight

import (
	"context"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
)

// answers are the two streams on which kernel requests are answered. They carry
// the answers to every instance, so they are read only while seeds of this one
// wait for some.
type answers struct {
	bus           *oona.Client
	ready, errors *oona.Demand
}

func newAnswers(bus *oona.Client, awaited func() bool) *answers {
	return &answers{bus: bus, ready: oona.NewDemand(awaited), errors: oona.NewDemand(awaited)}
}

// PublishKernelPrefetchRequest has the answers read before it asks for one.
func (a *answers) PublishKernelPrefetchRequest(ctx context.Context, request *leyline.KernelPrefetchRequest) error {
	a.ready.Raise()
	a.errors.Raise()
	return a.bus.PublishKernelPrefetchRequest(ctx, request)
}
