package control

import (
	"context"
	"log/slog"
	"time"

	"github.com/esper-lite/weatherlight/internal/cadence"
	"github.com/esper-lite/weatherlight/kasmina"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/signing"
	"github.com/esper-lite/weatherlight/tamiyo"
	"github.com/esper-lite/weatherlight/trainer"
	"github.com/esper-lite/weatherlight/weatherlight/internal/runrecord"
)

// Parts that keep records of runs, as their keys name them.
const (
	PartKasmina = "kasmina"
	PartTamiyo  = "tamiyo"
)

// Awaits tells all instances whether answers are waited for; *oona.Records is one.
type Awaits interface {
	Await(ctx context.Context, part string, patience time.Duration) error
	Awaited(ctx context.Context, part string) (bool, error)
}

// Config is what a Room works with. OnReport, Prepare, Blueprint, StepTimeout, PrefetchTimeout, TTL, Grace, Each
// and Logger are optional.
type Config struct {
	Core       *kasmina.Core
	Controller *tamiyo.Controller
	Records    runrecord.Store
	Awaits     Awaits
	Keyring    *signing.Keyring
	Now        func() time.Time // the bus's clock
	Rhythm     cadence.Phase    // of this process

	// Publish sends messages and returns when the bus has stored them.
	Publish func(ctx context.Context, messages ...oona.Message) error
	// Route says where a telemetry packet travels.
	Route func(packet *leyline.TelemetryPacket) oona.Message
	// Offer takes a telemetry packet that no record keeps. It must not block.
	Offer func(packet *leyline.TelemetryPacket)
	// OnReport hears of every report of a trainer that grows, once Kasmina has taken it [nobody
	// does].
	OnReport func(run string, report trainer.Report)
	// KeepReport makes a field report durable. It may be given one again.
	KeepReport func(ctx context.Context, report *leyline.FieldReport) error
	tamiyo.Blueprints

	PrefetchTimeout time.Duration // as the core has it; 0: its default

	TTL   time.Duration // of the record of a run that nobody reports for; 0: the store's
	Grace time.Duration // that another instance has to publish what it decided, before this one does
	// Each calls do with 0 to n-1 and returns when all have [16 side by side].
	Each   func(n int, do func(i int))
	Logger *slog.Logger
}
