package settings

import (
	"maps"
	"slices"
	"strings"
)

// Misspelt is a variable that nobody reads, though its name begins as ours do, or nearly is one of ours.
type Misspelt struct {
	Env     string
	Nearest string // the one that was meant, perhaps; empty: none is near
}

// families are how names of ours begin that no other program has.
var families = []string{
	"OONA_", "TAMIYO_", "KASMINA_", "KARN_", "TEZZERET_", "URZA_", "TOLARIA_", "WEATHERLIGHT_", "NISSA_", "ESPER_LEYLINE_",
}

// slips is how many letters may be wrong in a name that does not begin as ours do.
const slips = 2

// Misspellings are the variables of the environment and of the .env file that look like ours and
// are none, in the order of their names.
func Misspellings(s *Settings) []Misspelt { return slices.Clone(s.read.misspelt) }

func misspelt(variables []*variable, sources ...map[string]string) (found []Misspelt) {
	given := make(map[string]bool)
	for _, source := range sources {
		for name := range source {
			given[name] = true
		}
	}
	var familiar []*variable
	for _, v := range variables {
		delete(given, v.env)
		if ofFamily(v.env) {
			familiar = append(familiar, v)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if ofFamily(name) {
			found = append(found, Misspelt{name, nearest(name, variables, len(name)/3)})
		} else if near := nearest(name, familiar, slips); near != "" {
			found = append(found, Misspelt{name, near})
		}
	}
	return found
}

func ofFamily(name string) bool {
	return slices.ContainsFunc(families, func(family string) bool { return strings.HasPrefix(name, family) })
}

// nearest is the variable that takes the fewest edits, if these are at most so many.
func nearest(name string, variables []*variable, most int) (best string) {
	least := most + 1
	for _, v := range variables {
		if max(len(name)-len(v.env), len(v.env)-len(name)) >= least {
			continue
		}
		if edits := distance(name, v.env); edits < least {
			best, least = v.env, edits
		}
	}
	return best
}

// distance is how many letters must be put in, taken out or replaced to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			edits := diagonal
			if a[i] != b[j] {
				edits = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], edits
		}
	}
	return row[len(b)]
}
