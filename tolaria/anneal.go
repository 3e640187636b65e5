package tolaria

import "math"

// annealer is the host's learning rate: it is halved when the validation loss
// has come to rest, down to a floor.
type annealer struct {
	Rate float64 `json:"rate"`
	Best float64 `json:"best"` // validation loss at this rate; 0: none yet
	Bad  int     `json:"bad"`  // reports without a better one

	floor    float64
	patience int
}

// betterLoss is the relative fall of a loss that counts as better.
const betterLoss = 0.01

// see takes the validation loss of one more report.
func (a *annealer) see(loss float64) {
	if a.Best == 0 || loss < a.Best*(1-betterLoss) {
		a.Best, a.Bad = loss, 0
		return
	}
	a.Bad++
	if a.Bad >= a.patience {
		a.Rate, a.Bad = max(a.floor, a.Rate/2), 0
	}
}

// restart begins anew at a rate: the network is another one.
func (a *annealer) restart(rate float64) {
	a.Rate, a.Best, a.Bad = rate, 0, 0
}

func validRate(rate float64) bool {
	return rate > 0 && !math.IsInf(rate, 0) // NaN is not above 0
}
