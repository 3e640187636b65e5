package tamiyo

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
)

// place is where a report stands in the sequence of its run.
type place int

const (
	placeNext      place = iota
	placeRepeated        // known, late, or of a trainer that lost the run
	placeTakenOver       // of a new process that goes on where the last one was
	placeRestarted       // of one that starts over, or from an earlier checkpoint
)

// comeback is how long nothing must have been evaluated until a trainer that lost
// the run may have it back: whoever leads runs decides that, and may have
// forgotten who led this one. A late report of the former trainer comes sooner.
const comeback = time.Minute

func (r *Record) place(state State, now time.Time) place {
	switch {
	case r == nil:
		return placeNext
	case state.Grows:
		return r.placeOfTrainer(state, now)
	case r.Trainer != "":
		return placeRepeated // whoever published it, it is not the run's trainer
	default:
		return r.placeOfPacket(state.Packet)
	}
}

// placeOfTrainer goes by what a trainer counts: no clock but its own is in it.
func (r *Record) placeOfTrainer(state State, now time.Time) place {
	recent := now.UnixMilli()-r.SeenAt < comeback.Milliseconds()
	last, retired := r.retirement(state.TrainerID)
	switch {
	case state.TrainerID == r.Trainer && state.Number > r.Number:
		return placeNext
	case state.TrainerID == r.Trainer, retired && (recent || state.Number <= last):
		return placeRepeated
	case state.Packet.GetCurrentEpoch() < r.Epoch:
		return placeRestarted
	default:
		return placeTakenOver
	}
}

// placeOfPacket tells a late packet from a run that was started over under its
// old name: only the latter has a lower epoch and a later clock.
func (r *Record) placeOfPacket(packet *leyline.SystemStatePacket) place {
	switch {
	case packet.GetCurrentEpoch() > r.Epoch:
		return placeNext
	case packet.GetCurrentEpoch() < r.Epoch && r.Timestamp != 0 && packet.GetTimestampNs() > r.Timestamp:
		return placeRestarted
	default:
		return placeRepeated
	}
}

// next returns a record that stands at state; r may be nil. Another process
// begins a new window of patience: from which checkpoint it goes on, and how
// good the loss was there, nobody knows.
func (r *Record) next(state State, place place, now time.Time) *Record {
	next := &Record{Format: recordFormat, Run: state.Packet.GetTrainingRunId()}
	if r != nil {
		next = r.clone()
	}
	if place == placeTakenOver || place == placeRestarted {
		next.Loss = lossTrend{}
		next.retire(state.TrainerID)
	}
	if place == placeRestarted {
		next.restraint, next.Slots = restraint{}, nil
		next.Windows = nil
	}
	next.Evaluated++
	next.SeenAt = now.UnixMilli()
	next.Epoch = state.Packet.GetCurrentEpoch()
	if state.Grows {
		next.Trainer, next.Number = state.TrainerID, state.Number
		next.Timestamp = 0
		return next
	}
	next.Timestamp = state.Packet.GetTimestampNs()
	return next
}

// retire remembers that the run's trainer lost it to another: its reports are
// history.
func (r *Record) retire(successor string) {
	r.Retired = slices.DeleteFunc(r.Retired, func(t string) bool { return strings.HasPrefix(t, digest(successor)+".") })
	if r.Trainer == "" {
		return
	}
	r.Retired = append(r.Retired, digest(r.Trainer)+"."+decimal(r.Number))
	if surplus := len(r.Retired) - maxRetired; surplus > 0 {
		r.Retired = slices.Delete(r.Retired, 0, surplus)
	}
}

// retirement is the last report of a trainer that lost the run, and whether it did.
func (r *Record) retirement(trainerID string) (last uint64, retired bool) {
	if len(r.Retired) == 0 {
		return 0, false
	}
	name := digest(trainerID) + "."
	for _, t := range r.Retired {
		if number, is := strings.CutPrefix(t, name); is {
			last, _ = strconv.ParseUint(number, 10, 64) // what cannot be read is 0: from the first report on
			return last, true
		}
	}
	return 0, false
}

// welcome tells of a run that is new, or in new hands, and settles with the
// seeds of the last ones.
func (e *evaluation) welcome(former *Record, place place) {
	switch {
	case former == nil && !e.state.Grows:
		e.event("trainer_only_reports", levelInfo, "training_run_id", e.record.Run)
	case place == placeRestarted, place == placeTakenOver:
		e.event(eventOf(place), levelInfo, "training_run_id", e.record.Run,
			"trainer_id", e.state.TrainerID, "epoch", decimal(uint64(e.record.Epoch)),
			"epoch_before", decimal(uint64(former.Epoch)))
		e.settle()
	}
}

func eventOf(place place) string {
	if place == placeRestarted {
		return "trainer_restarted"
	}
	return "trainer_changed"
}

// settle ends the seeds that the new process does not have, or only as they
// were earlier. One that it never was to know of stays awaited.
func (e *evaluation) settle() {
	present := make(map[string]stage, len(e.state.Packet.GetSeedStates()))
	for _, state := range e.state.Packet.GetSeedStates() {
		present[state.GetSeedId()] = stage(state.GetStage())
	}
	for _, s := range slices.Clone(e.record.Seeds) {
		switch at := present[s.ID]; {
		case s.Ended:
		case s.awaited():
			s.Pending.Since, s.Pending.At = e.record.Evaluated, e.now.UnixMilli()
			e.record.put(s)
		case at < s.Stage || !alive(at) && at != stageFossilized:
			s.Cause = causeRestarted
			e.record.put(e.end(s, s.Stage))
		default:
			s.Improving, s.Regressing = 0, 0
			e.record.put(s)
		}
	}
}
