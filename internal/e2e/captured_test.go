package e2e

import (
	"slices"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/redistest"
)

// captured is how many states a listener on the bus keeps for later.
const captured = 60

// states are the last states on the bus, as they lie there.
func (w *world) states() (commands [][]string) {
	w.t.Helper()
	for _, e := range w.bus.entries(streamNormal) {
		if outer := decodeMessage(w.t, []byte(e.fields["payload"])); outer[1].varint == typeState {
			commands = append(commands, addCommand(streamNormal, []byte(e.fields["payload"]), e.fields["signature"]))
		}
	}
	return commands[max(0, len(commands)-captured):]
}

// replay publishes entries again, and waits until all are handled.
func (w *world) replay(commands [][]string) {
	w.t.Helper()
	if _, err := w.bus.pipeline(commands); err != nil {
		w.t.Fatal(err)
	}
	w.settled(streamNormal, patience)
}

// mustStayQuiet fails when anything came of what was replayed: a command, an order, a
// dead letter, or word of a trouble.
func (w *world) mustStayQuiet(what, run string, commands [][]string) {
	w.t.Helper()
	counts := func() []int {
		troubles := slices.DeleteFunc(w.told(), func(e event) bool {
			return e.description != "command_rejected" && e.description != "trainer_refused" && e.description != "trainer_restarted"
		})
		return []int{len(w.commands(streamNormal)), len(w.commands("oona.run." + run)), w.bus.length(streamDeadLetter), len(troubles)}
	}
	before := counts()
	w.replay(commands)
	w.mustTellMore()
	if after := counts(); !slices.Equal(after, before) {
		w.t.Errorf("%s: commands, orders, dead letters and troubles were %v, and are %v", what, before, after)
	}
}

// mustTellMore waits until what the service has to tell by now is on the bus.
func (w *world) mustTellMore() {
	w.t.Helper()
	now := time.Now()
	eventually(w.t, "a summary packet of later on", patience, func() bool { return w.lastSummary().at.After(now) })
}

// R4, R43: a state that came twice repeated its commands, and captured ones that came
// again after a restart made new ones.
func TestR4R43CapturedStatesDoNothing(t *testing.T) {
	begin(t)
	w := newWorld(t, redistest.AOF()...)
	w.bootForged()
	const run = "captured-1"
	p := w.trainer(run)
	p.await(growth, blending, fossilized)
	p.awaitReports(captured)
	p.mustDieOfKill()
	w.settled(streamNormal, patience)
	if n := len(w.commands(streamNormal)); n == 0 {
		t.Fatal("nothing was ever commanded")
	}
	states := w.states()
	if len(states) != captured {
		t.Fatalf("%d states", len(states))
	}
	w.mustStayQuiet("repeated at once", run, states)
	slices.Reverse(states)
	w.mustStayQuiet("the other way round", run, states)
	w.process.kill()
	w.boot()
	w.mustStayQuiet("after a kill", run, states)
	slices.Reverse(states)
	w.stop()
	w.boot()
	w.mustStayQuiet("after a restart", run, states)
	w.mustHaveNoDeadLetters()
	w.stop()
}

// R16: every command named the version of a payload that nobody had evaluated.
func TestR16CommandsNameTheRulesThatDecideThem(t *testing.T) {
	begin(t)
	w := newWorld(t)
	w.bootForged()
	const typePolicy = 5
	now := time.Now()
	stamp := varintField(varintField(nil, 1, uint64(now.Unix())), 2, uint64(now.Nanosecond()))
	update := bytesField(stringField(varintField(nil, 1, 1), 2, "p"), 4, stamp) // version, id, issued at
	update = stringField(stringField(update, 5, "never-evaluated"), 6, "opaque")
	raw := envelope(typePolicy, update)
	w.bus.do(addCommand("oona.policy", raw, sign(secret, raw))...)
	eventually(t, "the policy is stored", patience, func() bool {
		return slices.ContainsFunc(w.told(), func(e event) bool { return e.tells("policy_update_stored", "never-evaluated") })
	})
	p := w.trainer("policy-1")
	p.await(growth, training, blending)
	if len(w.commands(streamNormal)) == 0 {
		t.Error("nothing was commanded")
	}
	for _, e := range w.bus.entries(streamNormal) {
		outer := decodeMessage(t, []byte(e.fields["payload"]))
		version := attributesOf(t, outer[2].bytes, 20)["policy_version"]
		if outer[1].varint == typeCommand && version != "tamiyo_plain_v1" {
			t.Errorf("a command names the policy %q", version)
		}
	}
	if slices.ContainsFunc(w.told(), func(e event) bool { return e.tells("policy_update_applied") }) {
		t.Error("the policy was told of as applied")
	}
	p.end()
	w.stop()
}
