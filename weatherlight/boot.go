package weatherlight

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/esper-lite/weatherlight/internal/cadence"
	"github.com/esper-lite/weatherlight/internal/sdnotify"
	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/telemetry"
)

// drainNotice is how long readiness is off before the first worker stops.
const drainNotice = 50 * time.Millisecond

// steps is the boot list. It is read from top to bottom to boot and from bottom
// to top to stop; a step that fails rolls back the steps above it.
//
// Each step finds everything above it running. So the bus closes after the last
// packet was sent, that packet goes out after the workers stopped, and the
// workers stop before what they work on closes.
func (s *Service) steps() []supervise.Step {
	return []supervise.Step{
		step("data folder and HTTP listener", &s.node, func(ctx context.Context) (*node, error) {
			return openNode(ctx, s.foundation, s.handler)
		}),
		step("oona connection", &s.connection, func(ctx context.Context) (*connection, error) {
			return connectBus(ctx, s.foundation, s.outbox)
		}),
		step("streams and groups", &s.instances, func(ctx context.Context) (*instances, error) {
			return joinInstances(ctx, s.foundation, s.connection, s.sendLastPacket)
		}),
		step("urza catalogue", &s.kernels, func(ctx context.Context) (*kernels, error) {
			return openKernels(ctx, s.foundation, s.telemetry.Offer)
		}),
		step("urza prefetch worker", &s.answering, func(context.Context) (crew, error) {
			return s.newCrew(s.prefetchWorker(s.connection)), nil
		}),
		step("kasmina coordinator", &s.growth, s.openGrowth),
		step("tamiyo and command consumer", &s.controller, func(context.Context) (*controller, error) {
			return openController(s.foundation, s.connection, s.fleet, s.library, s.runs)
		}),
		{Name: "tezzeret forge", Start: s.openForge},
		step("loops", &s.loops, s.openLoops),
		{Name: "ready", Start: s.accept, Stop: s.drain},
	}
}

// part is what a boot step makes.
type part interface {
	// start starts its workers; an error means that it left none running.
	start(ctx context.Context) error
	stop(ctx context.Context) error
	// close closes what its workers worked on.
	close(ctx context.Context) error
}

// step makes a part, puts it in its place and starts its workers, which may look for it there.
func step[P part](name string, place *P, open func(context.Context) (P, error)) supervise.Step {
	return supervise.Step{
		Name: name,
		Start: func(ctx context.Context) error {
			made, err := open(ctx)
			if err != nil {
				return err
			}
			*place = made
			if err := made.start(ctx); err != nil {
				return errors.Join(err, made.close(ctx))
			}
			return nil
		},
		Stop: func(ctx context.Context) error {
			return errors.Join((*place).stop(ctx), (*place).close(ctx))
		},
	}
}

// accept says that the service takes work, last to the service manager: who hears it
// there may ask /readyz at once.
func (s *Service) accept(context.Context) error {
	s.accepting.Store(true) // first: who is booted and does not accept work drains
	s.booted.Store(true)
	if _, err := sdnotify.Notify(sdnotify.Ready); err != nil {
		s.accepting.Store(false)
		return err
	}
	return nil
}

// drain turns readiness off before anything stops, and leaves whoever asks for
// it a moment to see that and turn away. Then all consumers stop fetching at
// once, so that they finish side by side what they hold.
func (s *Service) drain(ctx context.Context) error {
	s.accepting.Store(false)
	_, err := sdnotify.Notify(sdnotify.Stopping)
	cadence.Sleep(ctx, drainNotice)
	s.stopFetch()
	return err
}

// flushTimeout bounds the final flush, so that a dead bus cannot use up the time for
// stopping, and lastPacketTimeout the last summary after it: a long queue must not
// use up its time.
const (
	flushTimeout      = 2 * time.Second
	lastPacketTimeout = 2 * time.Second
)

// sendLastPacket publishes what is still queued and one last summary, after all
// workers have stopped and before the bus closes.
func (s *Service) sendLastPacket(ctx context.Context) error {
	if !s.booted.Load() {
		return nil
	}
	flushing, flushEnd := context.WithTimeout(ctx, flushTimeout)
	defer flushEnd()
	flushed := s.telemetry.Flush(flushing)
	ctx, cancel := context.WithTimeout(ctx, lastPacketTimeout)
	defer cancel()
	packet := s.summaryPacket(ctx)
	if err := s.bus.PublishTelemetry(ctx, packet, telemetry.Priority(packet)); err != nil {
		return errors.Join(flushed, fmt.Errorf("publish last summary: %w", err))
	}
	return flushed
}
