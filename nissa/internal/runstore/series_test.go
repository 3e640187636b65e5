package runstore

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// told is what one of those that share a store hears when it tells something.
func told(t *testing.T, s *Store, name string, exchange *Exchange) []string {
	t.Helper()
	if _, err := NewJournal(s).Beat(t.Context(), name, exchange); err != nil {
		t.Fatal(err)
	}
	heard := []string{}
	for _, news := range exchange.News {
		heard = append(heard, news.Name[0]+" "+news.Value)
	}
	slices.Sort(heard)
	return heard
}

func TestThoseThatShareAStoreHearWhatWasSaidLast(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, url string) {
		s := open(t, Config{URL: url})
		value := func(name, value string, said int) Series {
			return Series{Name: []string{name}, Value: value, Said: at(said), Heard: at(said)}
		}
		told(t, s, "a", &Exchange{Told: []Series{value("x", "1", 1), value("y", "2", 1)}})
		b := Exchange{Told: []Series{value("x", "0", 0)}}
		if heard := told(t, s, "b", &b); !slices.Equal(heard, []string{"x 1", "y 2"}) {
			t.Errorf("it hears %q", heard)
		}
		round := b.Round
		b.Told = nil
		if heard := told(t, s, "b", &b); len(heard) > 0 || b.Round != round {
			t.Errorf("where nobody told anything it hears %q, and the round is %d after %d", heard, b.Round, round)
		}
		told(t, s, "a", &Exchange{Told: []Series{value("y", "3", 2)}, Round: round})
		if heard := told(t, s, "b", &b); !slices.Equal(heard, []string{"y 3"}) || b.Round != round+1 {
			t.Errorf("it hears %q, and the round is %d after %d", heard, b.Round, round)
		}
	})
}

// What was shared is bounded also when nobody shares any more.
func TestSeriesThatWereSharedAreForgotten(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, url string) {
		s := open(t, Config{URL: url, Series: 3, SeriesTTL: 10 * time.Second})
		var all []Series
		for n := range 8 {
			all = append(all, Series{Name: []string{fmt.Sprint("s", n)}, Value: "1", Said: at(n), Heard: at(n)})
		}
		told(t, s, "a", &Exchange{Told: all})
		for _, c := range []struct {
			now  int
			left []string
		}{{10, []string{"s5 1", "s6 1", "s7 1"}}, {16, []string{"s6 1", "s7 1"}}, {100, []string{}}} {
			if err := s.Tidy(t.Context(), at(c.now)); err != nil {
				t.Fatal(err)
			}
			if left := told(t, s, "a", &Exchange{}); !slices.Equal(left, c.left) {
				t.Errorf("at %d there are %q, want %q", c.now, left, c.left)
			}
		}
	})
}
