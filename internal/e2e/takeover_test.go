package e2e

import (
	"fmt"
	"syscall"
	"testing"
	"time"
)

// workBound is how long the work in hand of a killed instance may wait for another.
// An entry that nobody touches is anybody's after 8 s; whose instance is known to be
// dead, sooner.
const workBound = 7 * time.Second

// holds is how many entries of a stream an instance has in hand.
func (w *world) holds(stream, instance string) int {
	w.t.Helper()
	pending, _ := w.bus.do("XPENDING", stream, group, "-", "+", "100", "weatherlight-"+instance).([]any)
	return len(pending)
}

// leaveInHand kills an instance that has something in hand: Redis hands an entry to
// who waits for one, also when that is frozen.
func (w *world) leaveInHand(stream, instance string, send func(number int)) (killed time.Time) {
	w.t.Helper()
	sent := 0
	eventually(w.t, instance+" has work in hand", patience, func() bool {
		w.process.signal(syscall.SIGSTOP)
		send(sent)
		sent++
		if w.holds(stream, instance) > 0 {
			return true
		}
		w.process.signal(syscall.SIGCONT) // it did not wait just then, or another did for longer
		return false
	})
	w.process.kill()
	return time.Now()
}

// TestWorkInHandOfAKilledInstanceIsTakenOver: nobody starts it again.
func TestWorkInHandOfAKilledInstanceIsTakenOver(t *testing.T) {
	begin(t)
	leader, other := pair(t)
	var ids []string
	killed := other.leaveInHand(streamRequests, "second", func(number int) {
		ids = append(ids, fmt.Sprintf("left-%d", number))
		leader.request(ids[number], compiled)
	})
	leader.settled(streamRequests, workBound)
	took(t, "SIGKILL", "kill -9 of one of two to its work is done by the other", time.Since(killed), workBound)
	leader.mustBeAnsweredOnce(ids)
	leader.stop()
}

// TestWorkInHandOfAKilledLeaderIsTakenOver: what only the leader reads waits for the
// next one.
func TestWorkInHandOfAKilledLeaderIsTakenOver(t *testing.T) {
	begin(t)
	leader, other := pair(t)
	var ids []string
	killed := leader.leaveInHand(streamNormal, "e2e", func(number int) {
		command := envelope(typeCommand, stringField(varintField(nil, 1, 1), 2, fmt.Sprintf("left-%d", number)))
		id, _ := leader.bus.do(addCommand(streamNormal, command, sign(secret, command))...).(string)
		ids = append(ids, id)
	})
	other.settled(streamNormal, workBound)
	took(t, "leader killed", "kill -9 to what it had in hand is done by the next", time.Since(killed), workBound)
	for _, id := range ids { // they bear no signature of their own
		other.refused(streamNormal, id, "permanent")
	}
	other.stop()
}
