package learn

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/esper-lite/weatherlight/tamiyo/policy/network"
)

// Verdict is what a policy came to on runs that it had not seen, beside the controller's own
// rules. It goes by choices: what it would have begun of all that stood to choose, at a moment
// when a seed was begun there, beside the seed of another blueprint that stood to choose as well, of
// which a seed was begun at a slot of the same form. What that one brought beyond it is the regret.
type Verdict struct {
	Runs, Choices        int
	PolicyRight, ByRules float64 // shares of choices that fell on the one that came to more
	PolicyRegret, Regret float64 // mean over the choices; Regret is that of the rules
	Gain, Noise          float64 // by how much the policy's regret is smaller, and the standard error of that, over runs
}

// certain is how many standard errors a gain must be beyond, to be one.
const certain = 2

// Beats says whether the policy is better than the rules, beyond chance.
func (v Verdict) Beats() bool { return v.Gain > 0 && v.Gain > certain*v.Noise }

// pair are two seeds of which one came to more, at the moment when one of them was begun.
type pair struct {
	runs           [2]int
	stake          float64 // by how much
	policy, byRule float64 // how right each choice is: 1 the better one, 0 the other, a half neither
}

// compare has a policy choose.
func compare(ctx context.Context, policy []byte, unseen []decision) (pairs []pair, err error) {
	fitted, err := network.Read(policy)
	if err != nil {
		return nil, err
	}
	chosen := make([]int, len(unseen))
	for i := range unseen {
		answers, err := fitted.Judge(ctx, unseen[i].rows)
		if err != nil {
			return nil, fmt.Errorf("judge a policy: %w", err)
		}
		chosen[i] = choiceOf(answers)
	}
	for i := range unseen {
		for j := range i {
			a, b := &unseen[i], &unseen[j]
			if a.value == b.value || !alike(a, b) || a.blueprint() == b.blueprint() {
				continue
			}
			better, worse := a, b
			if a.value < b.value {
				better, worse = b, a
			}
			for _, at := range []int{i, j} {
				moment := &unseen[at]
				if !moment.offers(better) || !moment.offers(worse) {
					continue
				}
				if right := moment.right(chosen[at], better, worse); right != neither {
					byRule := moment.right(0, better, worse)
					pairs = append(pairs, pair{[2]int{a.run, b.run}, better.value - worse.value, right, byRule})
				}
			}
		}
	}
	return pairs, nil
}

// choiceOf is what a policy that answers so begins, or -1 when it begins none.
func choiceOf(answers [][]float32) int {
	choice := -1
	for i, answer := range answers {
		if answer[0] > 0 && (choice < 0 || answer[0] > answers[choice][0]) {
			choice = i
		}
	}
	return choice
}

// neither is how right a choice is of which nothing is known.
const neither = 0.5

func (d *decision) right(choice int, better, worse *decision) float64 {
	switch {
	case choice < 0:
		return neither
	case d.blueprints[choice] == better.blueprint():
		return 1
	case d.blueprints[choice] == worse.blueprint():
		return 0
	default:
		return neither
	}
}

func (d *decision) blueprint() string { return d.blueprints[d.chosen] }

// offers says whether what a decision began stood to choose at another one.
func (d *decision) offers(other *decision) bool {
	return slices.Contains(d.blueprints, other.blueprint())
}

// alike says whether two decisions were about slots of the same form.
func alike(a, b *decision) bool {
	return slices.Equal(a.row()[firstSlot:lastSlot+1], b.row()[firstSlot:lastSlot+1])
}

// judge sums pairs up. The noise is that of leaving out one run after the other: what
// happens within a run hangs together.
func judge(pairs []pair, runs int) Verdict {
	v := Verdict{Runs: runs, Choices: len(pairs)}
	gain := make([]float64, runs) // of the pairs that a run has a part in
	count := make([]float64, runs)
	total := 0.0
	for _, p := range pairs {
		v.PolicyRight, v.ByRules = v.PolicyRight+p.policy, v.ByRules+p.byRule
		v.PolicyRegret, v.Regret = v.PolicyRegret+p.stake*(1-p.policy), v.Regret+p.stake*(1-p.byRule)
		difference := p.stake * (p.policy - p.byRule)
		total += difference
		for k, run := range p.runs {
			if k == 1 && run == p.runs[0] {
				continue
			}
			gain[run], count[run] = gain[run]+difference, count[run]+1
		}
	}
	n := float64(len(pairs))
	if n == 0 {
		return v
	}
	v.PolicyRight, v.ByRules, v.PolicyRegret, v.Regret = v.PolicyRight/n, v.ByRules/n, v.PolicyRegret/n, v.Regret/n
	v.Gain = total / n
	var without []float64
	for run := range runs {
		if left := n - count[run]; left > 0 && count[run] > 0 {
			without = append(without, (total-gain[run])/left)
		}
	}
	v.Noise = jackknife(without)
	return v
}

// jackknife is the standard error of a figure, by what it is without each part; without
// bounds when there is but one.
func jackknife(without []float64) float64 {
	k := float64(len(without))
	if k < 2 {
		return math.Inf(1)
	}
	mean, squares := 0.0, 0.0
	for _, x := range without {
		mean += x / k
	}
	for _, x := range without {
		squares += (x - mean) * (x - mean)
	}
	return math.Sqrt((k - 1) / k * squares)
}
