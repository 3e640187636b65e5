package learn

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/esper-lite/weatherlight/tamiyo/policy/network"
)

// Verdict is what a policy came to on runs that it had not seen, beside the controller's own
// rules. It goes by pairs of seeds: two that were begun at slots of the same form, by
// different blueprints, each of which stood to choose both times. Preferred is the one that
// a scorer puts higher; what the other one would have brought beyond it is the regret.
type Verdict struct {
	Runs, Pairs          int
	PolicyRight, ByRules float64 // shares of pairs in which the one that came to more was preferred
	PolicyRegret, Regret float64 // mean over the pairs; Regret is that of the rules
	Gain, Noise          float64 // by how much the policy's regret is smaller, and the standard error of that, over runs
}

// certain is how many standard errors a gain must be beyond, to be one.
const certain = 2

// Beats says whether the policy is better than the rules, beyond chance.
func (v Verdict) Beats() bool { return v.Gain > 0 && v.Gain > certain*v.Noise }

// pair are two seeds of which one came to more.
type pair struct {
	runs           [2]int
	stake          float64 // by how much
	policy, byRule float64 // how right each is: 1 preferred the better one, 0 the other, a half neither
}

// compare pairs decisions off.
func compare(ctx context.Context, policy []byte, unseen []decision) (pairs []pair, err error) {
	fitted, err := network.Read(policy)
	if err != nil {
		return nil, err
	}
	scores := make([][]float64, len(unseen))
	own := make([][]float64, len(unseen))
	for i := range unseen {
		answers, err := fitted.Judge(ctx, unseen[i].rows)
		if err != nil {
			return nil, fmt.Errorf("judge a policy: %w", err)
		}
		for _, answer := range answers {
			scores[i] = append(scores[i], float64(answer[0]))
		}
		own[i] = unseen[i].worth()
	}
	for i := range unseen {
		for j := range i {
			a, b := &unseen[i], &unseen[j]
			if a.value == b.value || !alike(a, b) {
				continue
			}
			ofA, ofB := slices.Index(b.blueprints, a.blueprints[a.chosen]), slices.Index(a.blueprints, b.blueprints[b.chosen])
			if ofA < 0 || ofB < 0 || ofB == a.chosen {
				continue
			}
			right := func(score [][]float64) float64 {
				margin := score[i][a.chosen] - score[i][ofB] + score[j][ofA] - score[j][b.chosen]
				if a.value < b.value {
					margin = -margin
				}
				switch {
				case margin > 0:
					return 1
				case margin < 0:
					return 0
				default:
					return 0.5
				}
			}
			pairs = append(pairs, pair{[2]int{a.run, b.run}, math.Abs(a.value - b.value), right(scores), right(own)})
		}
	}
	return pairs, nil
}

// alike says whether two decisions were about slots of the same form.
func alike(a, b *decision) bool {
	return slices.Equal(a.row()[firstSlot:lastSlot+1], b.row()[firstSlot:lastSlot+1])
}

// judge sums pairs up. The noise is that of leaving out one run after the other: what
// happens within a run hangs together.
func judge(pairs []pair, runs int) Verdict {
	v := Verdict{Runs: runs, Pairs: len(pairs)}
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
