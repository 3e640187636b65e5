package weatherlight

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/esper-lite/weatherlight/karn"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/tezzeret/forge"
	"github.com/esper-lite/weatherlight/urza"
	"github.com/esper-lite/weatherlight/weatherlight/assembly"
	"github.com/esper-lite/weatherlight/weatherlight/internal/maintenance"
	"github.com/esper-lite/weatherlight/weatherlight/internal/selection"
)

// kernels is the kernel library, and what knows its way about it.
type kernels struct {
	*foundation
	crew

	catalog    *karn.Catalog
	library    *urza.Library
	prefetcher *urza.Prefetcher
	selection  *selection.Selection
}

func openKernels(ctx context.Context, f *foundation, offer func(*leyline.TelemetryPacket)) (*kernels, error) {
	catalog := assembly.Catalog(f.settings)
	config := assembly.Library(f.settings)
	config.Logger = f.logger.With("part", "urza")
	config.FinishSaves = true
	compiler, err := assembly.Compiler(f.settings)
	if err != nil {
		return nil, err
	}
	library, err := assembly.OpenLibrary(ctx, config)
	if err != nil {
		return nil, err
	}
	return &kernels{
		foundation: f, catalog: catalog, library: library,
		prefetcher: urza.NewPrefetcher(library, assembly.Prefetch(f.settings, compiler, catalog)),
		selection: selection.New(selection.Config{
			Catalog: catalog, Compiler: compiler, Library: library,
			OwnSlot: f.settings.Tezzeret.SlotSizes(), Offer: offer,
		}),
	}, nil
}

func (k *kernels) close(context.Context) error {
	k.selection.Close()
	return k.library.Close()
}

// pingLibrary asks the catalogue for a sign of life.
func (k *kernels) pingLibrary(ctx context.Context) error {
	if err := k.library.Ping(ctx); err != nil {
		return fmt.Errorf("%s: %w", k.settings.Urza.DatabaseURL, err)
	}
	return nil
}

// scrubber reads every kernel again when it is this instance's turn.
func (k *kernels) scrubber(ours func() bool) maintenance.Scrubber {
	set := k.settings.Urza
	return maintenance.Scrubber{
		Ours: ours, Interval: set.ScrubInterval, Logger: k.logger,
		Scrub: func(ctx context.Context) (urza.Scrubbed, error) {
			defer debug.FreeOSMemory() // a pass reads the whole library, and the next one is hours away
			return k.library.Scrub(ctx, int64(set.ScrubBytesPerSecond))
		},
	}
}

// prefetchWorker answers kernel requests.
func (k *kernels) prefetchWorker(c *connection) supervise.Spec {
	return c.consumer(workerPrefetch, oona.Subscription{
		AnswersOnly: true,
		Needs:       k.pingLibrary,
		Handlers:    only(leyline.BusMessageType_BUS_MESSAGE_TYPE_KERNEL_PREFETCH_REQUEST, k.answerRequest),
	})
}

// answerRequest answers one kernel request. The answer, the replay mark and the
// acknowledgement commit together. While the library is away the request waits.
func (k *kernels) answerRequest(ctx context.Context, delivery *oona.Delivery) ([]oona.Message, error) {
	request, ok := delivery.Payload.(*leyline.KernelPrefetchRequest)
	if !ok {
		return nil, oona.Permanent(fmt.Errorf("kernel request is %T", delivery.Payload))
	}
	answer, attributes, err := k.prefetcher.Answer(ctx, request, delivery.Attributes)
	if err != nil {
		err = fmt.Errorf("answer request for %s: %w", request.GetBlueprintId(), err)
	}
	if errors.Is(err, urza.ErrUnavailable) {
		return nil, oona.Outage(err)
	}
	if err != nil {
		return nil, err
	}
	return []oona.Message{{Payload: answer, Attributes: attributes}}, nil
}

// openForge sets up the forge. It starts with the loops, once the service is ready.
func (s *Service) openForge(context.Context) error {
	config, err := assembly.Forge(s.settings, s.library)
	if err != nil {
		return err
	}
	config.Announce = s.durable.AnnounceKernel
	config.Progress = s.onForge
	config.Logger = s.logger.With("part", "tezzeret")
	s.forge = forge.New(config)
	return nil
}

// runForge waits until the service is ready, so that compiling never delays the
// boot, and compiles what the library lacks.
func (s *Service) runForge(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-s.ready:
	}
	err := s.forge.Run(ctx)
	// What compiling took is not needed again until the next start.
	debug.FreeOSMemory()
	s.telemetry.Offer(s.forge.Packet())
	if err != nil {
		return fmt.Errorf("forge: %w", err)
	}
	if ctx.Err() == nil {
		s.markForged()
	}
	return nil
}
