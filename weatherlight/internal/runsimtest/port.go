package runsimtest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/weatherlight/internal/control"
)

// errDead is what a process that died sees of the world. Nobody reads it.
var errDead = errors.New("this process is dead")

// port is what one life of an instance reaches the outside through. Each call is
// a step: others run before it takes effect, and the process may die before or
// after.
type port struct{ *life }

// call takes one step. effect runs unless the process dies before, or the bus is
// away.
func (p port) call(part string, effect func() error) error {
	if part == control.PartTamiyo {
		p.inControl()
	}
	return p.step(effect, func() error {
		if p.town.busDown && !p.town.chance(0.1) { // now and then the answer is all that is lost
			return fmt.Errorf("simulated outage: %w", oona.ErrUnavailable)
		}
		if err := effect(); err != nil {
			return err
		}
		if p.town.busDown {
			return fmt.Errorf("simulated lost answer: %w", oona.ErrUnavailable)
		}
		return nil
	})
}

// step lets a process that lives on try something, and one that dies behind it do it.
func (p port) step(effect, try func() error) error {
	if !p.wait() {
		return errDead
	}
	switch p.fate() {
	case diesBefore:
		p.die()
		return errDead
	case diesAfter:
		err := effect()
		p.die()
		return errors.Join(errDead, err)
	default:
		return try()
	}
}

// ask is a call that has an answer.
func ask[T any](p port, part string, question func() (T, error)) (answer T, err error) {
	err = p.call(part, func() (err error) {
		answer, err = question()
		return err
	})
	return answer, err
}

// Load implements runrecord.Store.
func (p port) Load(_ context.Context, key oona.RecordKey) (oona.Record, error) {
	return ask(p, key.Part, func() (oona.Record, error) {
		record := p.town.store.Load(key)
		if p.town.defects.SkipsRecovery {
			record.Pending = nil
		}
		return record, nil
	})
}

// Save implements runrecord.Store.
func (p port) Save(_ context.Context, write oona.RecordWrite) (int64, error) {
	return ask(p, write.Key.Part, func() (int64, error) { return p.town.store.Save(p.town.tamper(write)) })
}

// Settle implements runrecord.Store.
func (p port) Settle(_ context.Context, key oona.RecordKey, version int64) error {
	return p.call(key.Part, func() error {
		p.town.store.Settle(key, version)
		return nil
	})
}

// Due implements runrecord.Store.
func (p port) Due(_ context.Context, part string, now time.Time, limit int, hold time.Duration) ([]oona.DueRun, error) {
	return ask(p, part, func() ([]oona.DueRun, error) { return p.town.store.Due(part, now, limit, hold), nil })
}

// Reschedule implements runrecord.Store.
func (p port) Reschedule(_ context.Context, part string, claimed oona.DueRun, at time.Time) error {
	return p.call(part, func() error {
		p.town.store.Reschedule(part, claimed, at)
		return nil
	})
}

// Runs implements runrecord.Store.
func (p port) Runs(_ context.Context, part, after string, limit int) ([]string, error) {
	return ask(p, part, func() ([]string, error) { return p.town.store.Runs(part, after, limit), nil })
}

// Await implements control.Awaits.
func (p port) Await(context.Context, string, time.Duration) error {
	return p.call("", func() error { return nil })
}

// Awaited implements control.Awaits.
func (p port) Awaited(context.Context, string) (bool, error) { return true, nil }

// publish stores messages on the bus, as far as the process lives.
func (p port) publish(_ context.Context, messages ...oona.Message) error {
	var failures []error
	for _, message := range messages {
		failures = append(failures, p.call("", func() error {
			p.town.published(message)
			return nil
		}))
	}
	return errors.Join(failures...)
}

// keepReport makes a field report durable. It is a step as well: the disk is
// slow, and it may be full.
func (p port) keepReport(_ context.Context, report *leyline.FieldReport) error {
	keep := func() error {
		p.town.audit.reported(p.town.retold(report))
		return nil
	}
	return p.step(keep, func() error {
		if p.town.diskFull {
			return errors.New("simulated full disk")
		}
		return keep()
	})
}
