package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"text/tabwriter"
)

// result is one row of the results file.
type result struct {
	Name   string             `json:"name"`
	Unit   string             `json:"unit"`
	Ours   float64            `json:"ours"`   // median of the runs
	Peers  map[string]float64 `json:"peers"`  // likewise, or a constant
	Ratio  map[string]float64 `json:"ratio"`  // ours / peer
	Runs   int                `json:"runs"`   // of ours
	Spread float64            `json:"spread"` // (highest - lowest) / median of our runs
	Better string             `json:"better"` // higher or lower
	Bars   []verdict          `json:"bars,omitempty"`
	Absent map[string]string  `json:"absent,omitempty"` // peers that could not be measured, and why
}

// verdict is what became of a bar.
type verdict struct {
	Peer string `json:"peer,omitempty"` // the bar is on the ratio to it; without, on the figure
	Bar  string `json:"bar"`
	Met  bool   `json:"met"`
}

func newResult(f *figures) result {
	value, _ := f.median(ours)
	r := result{
		Name: f.name, Unit: f.unit, Ours: rounded(value), Better: f.better,
		Peers: make(map[string]float64), Ratio: make(map[string]float64),
		Runs: len(f.samples[ours]), Spread: rounded(f.spread(ours)), Absent: f.absent,
	}
	for _, peer := range f.peers() {
		other, _ := f.median(peer)
		r.Peers[peer] = rounded(other)
		if other != 0 {
			r.Ratio[peer] = rounded(value / other)
		}
	}
	for _, b := range bars()[f.name] {
		if met, known := b.met(f); known {
			r.Bars = append(r.Bars, verdict{b.peer, b.String(), met})
		}
	}
	return r
}

// rounded keeps four significant digits: the runs differ in the second.
func rounded(value float64) float64 {
	text := strconv.FormatFloat(value, 'g', 4, 64)
	short, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsInf(short, 0) {
		return value
	}
	return short
}

func writeResults(path string, rows []*figures) error {
	results := make([]result, 0, len(rows))
	for _, f := range rows {
		results = append(results, newResult(f))
	}
	text, err := json.MarshalIndent(results, "", "  ")
	if err != nil {
		return fmt.Errorf("encode results: %w", err)
	}
	if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	return nil
}

// printTable shows each row and below it its peers, with the bars that were set
// and whether they were met. The range is that of the runs; a constant has none.
func printTable(out io.Writer, rows []*figures) {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ROW\tUNIT\tPEER\tMEDIAN\tLOWEST .. HIGHEST\tSPREAD\tRUNS\tOURS/PEER\tBAR\tMET")
	for _, f := range rows {
		value, _ := f.median(ours)
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t\t%s\n",
			f.name, f.unit+" ("+f.better+")", ours, number(value), f.columns(ours), f.barColumns(""))
		for _, peer := range f.peers() {
			other, _ := f.median(peer)
			fmt.Fprintf(table, "\t\t%s\t%s\t%s\t%s\t%s\n",
				peer, number(other), f.columns(peer), number(value/other), f.barColumns(peer))
		}
		for _, peer := range slices.Sorted(maps.Keys(f.absent)) {
			fmt.Fprintf(table, "\t\t%s\t%s\n", peer, f.absent[peer])
		}
	}
	_ = table.Flush() // A closed terminal is no reason to lose the results file.
	fmt.Fprintln(out, summary(rows))
}

// summary counts the bars.
func summary(rows []*figures) string {
	set, met := 0, 0
	for _, f := range rows {
		for _, b := range newResult(f).Bars {
			set++
			if b.Met {
				met++
			}
		}
	}
	return fmt.Sprintf("RESULT bench rows=%d bars=%d met=%d", len(rows), set, met)
}

// barColumns are the bar on a peer's ratio, or on the figure itself, and whether
// it was met.
func (f *figures) barColumns(peer string) string {
	for _, b := range bars()[f.name] {
		if met, known := b.met(f); known && b.peer == peer {
			return b.String() + "\t" + map[bool]string{true: "yes", false: "NO"}[met]
		}
	}
	return "\t"
}

// columns are range, spread and number of the runs of a column.
func (f *figures) columns(column string) string {
	samples := f.samples[column]
	if len(samples) == 0 {
		return "constant\t\t"
	}
	return fmt.Sprintf("%s .. %s\t%.0f %%\t%d", number(slices.Min(samples)), number(slices.Max(samples)),
		100*f.spread(column), len(samples))
}

// number is readable at any size.
func number(value float64) string {
	switch size := math.Abs(value); {
	case math.IsNaN(value) || math.IsInf(value, 0):
		return "-"
	case size >= 1000:
		return strconv.FormatFloat(value, 'f', 0, 64)
	case size >= 10:
		return strconv.FormatFloat(value, 'f', 1, 64)
	default:
		return strconv.FormatFloat(value, 'g', 3, 64)
	}
}
