package tamiyo

import (
	"fmt"

	"github.com/esper-lite/weatherlight/leyline"
)

// act is what a policy may ask for of a living seed.
type act int

const (
	actNone act = iota // the seed is left to the rules
	actCull
	actPause
	actKeep
)

// action is what a policy asks for of a seed, and what it answered about each that it may ask for.
type action struct {
	act               act
	cull, pause, keep float32
}

func (a action) String() string {
	return fmt.Sprintf("cull %.3f, pause %.3f, keep %.3f", a.cull, a.pause, a.keep)
}

func (a act) String() string { return [...]string{"leave", "cull", "pause", "keep"}[a] }

// wishes are what the policy asks for, seed by seed.
func (d deciding) wishes() string {
	var texts []string
	for _, s := range d.living {
		if wish := d.actions[s.ID]; wish.act != actNone {
			texts = append(texts, wish.act.String()+" "+s.ID+": "+wish.String())
		}
	}
	return listed(texts, longestExplanation)
}

// actionOf reads an answer. What a seed of that stage cannot do is not asked for, nor is what was
// answered lower in its place: who would rather keep a seed does not have it culled.
func actionOf(answer []float32, at stage) action {
	told := action{cull: answer[answerCull], pause: answer[answerPause], keep: answer[answerKeep]}
	usable, highest := true, float32(0)
	for _, column := range []struct {
		act    act
		value  float32
		usable bool
	}{{actCull, told.cull, true}, {actPause, told.pause, pausable(at)}, {actKeep, told.keep, at == stageProbationary}} {
		if column.value > highest {
			told.act, highest, usable = column.act, column.value, column.usable
		}
	}
	if !usable {
		told.act = actNone
	}
	return told
}

// askOfSeeds asks the policy that decides what is to become of the run's seeds. When the library
// left no time for that, it is not the policy that is late.
func (e planner) askOfSeeds() {
	active := e.deciding.active
	if active == nil && e.deciding.shadow == nil || e.plan.overdue {
		return
	}
	e.deciding.living = e.steerable()
	if active == nil || len(e.deciding.living) == 0 {
		return
	}
	actions, err := e.actions(active)
	e.deciding.actions = actions
	e.settleAnswer(active, err)
}

// steerable are the seeds of which a policy may ask something: they live, nothing that was asked
// for is awaited of them, and nobody else keeps them out of the output.
func (e planner) steerable() (living []seed) {
	for _, s := range e.record.Seeds {
		switch {
		case s.Ended, !alive(s.Stage), !e.commandable(s), s.Hold.Out && !s.Paused:
		case s.Pending.waits() && !e.lapsed(s):
		case e.state.Lives != nil && !e.state.Lives(s.ID):
		default:
			living = append(living, s)
		}
	}
	return living
}

func (e planner) actions(policy Policy) (map[string]action, error) {
	told := make(map[string]*leyline.SeedState)
	for _, state := range e.state.Packet.GetSeedStates() {
		told[state.GetSeedId()] = state
	}
	rows := make([][]float32, len(e.deciding.living))
	for i, s := range e.deciding.living {
		rows[i] = e.ofSeed(s, told[s.ID])
	}
	answers, err := e.judged(policy, rows)
	if err != nil {
		return nil, err
	}
	actions := make(map[string]action, len(rows))
	for i, s := range e.deciding.living {
		actions[s.ID] = actionOf(answers[i], s.Stage)
	}
	return actions, nil
}

// compareSeeds tells what the policy in the shadow asks for of living seeds beside the one that
// decides. Of seeds that both leave to the rules there is nothing to tell.
func (e planner) compareSeeds(shadow Policy) error {
	if len(e.deciding.living) == 0 {
		return nil
	}
	actions, err := e.actions(shadow)
	if err != nil {
		return err
	}
	for _, s := range e.deciding.living {
		would, did := actions[s.ID].act, e.deciding.actions[s.ID].act
		if would != actNone || did != actNone {
			e.compared(shadow, e.comes(s, would), e.comes(s, did))
		}
	}
	return nil
}

// comes is what comes of a seed by what is asked for, if no rule restrains the run.
func (e planner) comes(s seed, wish act) string {
	if bars(s, wish) != "" {
		wish = actNone
	}
	operation, _ := e.judge(s, wish)
	comes := actNone
	switch {
	case operation == opCull:
		comes = actCull
	case wish == actPause:
		comes = actPause
	case operation == opFossilize && !s.Paused: // it comes back first
		comes = actKeep
	}
	return comes.String() + " " + s.ID
}

// bars is why a seed is not to be done with what a policy asks for; empty: it may be.
func bars(s seed, wish act) string {
	switch {
	case (wish == actCull || wish == actKeep) && (s.Paused || s.Hold.Out):
		return "paused"
	case wish == actKeep && s.Improving == 0:
		return "no_gain"
	default:
		return ""
	}
}

// withhold tells of what a policy asks for and does not get.
func (e steerer) withhold(s seed, wish action, reason string) {
	e.event("policy_restrained", levelInfo, "training_run_id", e.record.Run, "policy_version", e.policy, "seed_id", s.ID,
		"asked", wish.act.String(), "policy_answer", wish.String(), "reason", reason)
}
