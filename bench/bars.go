package main

import (
	"fmt"
	"math"
)

// bar is what a row must reach: a figure, or a ratio to a peer of the same run.
type bar struct {
	peer   string // "" bars the figure itself
	lowest float64
	most   float64 // 0: no upper end
}

func atLeast(figure float64) bar { return bar{lowest: figure} }

func atMost(figure float64) bar { return bar{most: figure} }

func (b bar) times(peer string) bar {
	b.peer = peer
	return b
}

// within bars a ratio from both sides: what is meant to stay flat.
func within(part float64, peer string) bar { return bar{peer: peer, lowest: 1 - part, most: 1 + part} }

// bars are what was promised, by row.
func bars() map[string][]bar {
	flat := within(0.2, fewest)
	return map[string][]bar{
		"prefetch_rate_100":                 {atLeast(10_000), atLeast(0.6).times(ceiling)},
		"prefetch_p50_ms":                   {atMost(1), atMost(2).times(ceiling)},
		"prefetch_p99_ms":                   {atMost(3).times(ceiling)},
		"prefetch_rate_100k_rows":           {atLeast(0.8).times(fewKernels)},
		"prefetch_rate_100mb":               {atLeast(0.8).times(fewKernels)},
		"report_to_order_p50_ms":            {atMost(3)},
		"report_to_order_p99_ms":            {atMost(10)},
		"reports_rate":                      {atLeast(5_000), atLeast(0.4).times(bare)},
		"run_redis_kb":                      {atMost(64)},
		"run_memory_kb":                     {atMost(100)},
		"variant_ms":                        {atMost(100)},
		"graft_overhead_percent":            {atMost(1)},
		"graft_blending_percent":            {atMost(5)},
		"graft_overhead_784_128_10_percent": {atMost(1)},
		"graft_blending_784_128_10_percent": {atMost(5)},
		"graft_attach_ms":                   {atMost(0.5)},
		"command_verify_us":                 {atMost(20)},
		"decision_p99_us":                   {atMost(500)},
		rowByPolicy:                         {atMost(2000)},
		"boot_to_ready_ms":                  {atMost(150)},
		"boot_to_ready_redis_ms":            {atMost(150)},
		"resident_mb":                       {atMost(38.1)}, // 40 MB
		"idle_cpu_percent":                  {atMost(0.5)},
		"shutdown_idle_ms":                  {atMost(100)},
		"signal_seen_p99_ms":                {atMost(10)},
		"signal_idle_cpu_percent":           {atMost(2)},
		"signal_noticed_cpu_percent":        {atMost(1.3).times(without)}, // two runs of one state differ by that
		rowAlertP99:                         {atMost(1000)},
		rowScrape:                           {atMost(100)},
		rowManySeries:                       {atMost(150)},
		rowInteractive:                      {atMost(1000)},
		rowBrowserP99:                       {atMost(500)},
		"publish":                           {atLeast(0.6).times(raw), atLeast(3).times(watermillPeer), atLeast(1).times(jetstreamPeer)},
		"publish_p99_us":                    {atMost(1.5).times(raw)},
		"publish_allocs":                    {atMost(15)},
		"consume":                           {atLeast(0.6).times(raw), atLeast(10).times(watermillPeer), atLeast(1).times(jetstreamPeer)},
		"consume_allocs":                    {atMost(15)},
		"flat_10k_messages_us":              {flat},
		"flat_100k_messages_us":             {flat},
		"flat_1m_messages_us":               {flat},
		"flat_2_streams_us":                 {flat},
		"flat_4_streams_us":                 {flat},
		"flat_8_streams_us":                 {flat},
		"backlog_publisher_mb":              {atMost(1.2).times(fewest)},
		"backlog_consumer_mb":               {atMost(1.2).times(fewest)},
		rowStatus:                           {atMost(100)},
		rowTop:                              {atMost(2)},
		"nissa_ingest":                      {atLeast(20_000), atLeast(0.3).times(bare)},
		"supervise_event_us":                {atMost(2)},
		"supervise_steady_allocs":           {atMost(0)},
		"save_rate":                         {atLeast(500)},
		"save_rate_8":                       {atLeast(500)},
		"kernel_load_1mb_ms":                {atMost(2)},
		"kernel_compile_42_s":               {atMost(10)},
		"kernel_step_784_128_10_ms":         {atMost(3)},
		"demo_duration_s":                   {atMost(60)},
	}
}

// met reports whether the row reaches the bar, and false for known when what it
// is compared with was not measured.
func (b bar) met(f *figures) (met, known bool) {
	value, known := f.median(ours)
	if b.peer != "" {
		other, measured := f.median(b.peer)
		if !measured || other == 0 {
			return false, false
		}
		value /= other
	}
	return (b.lowest == 0 || value >= b.lowest) && value <= b.upper(), known // a difference may be negative
}

func (b bar) upper() float64 {
	if b.most == 0 && b.lowest > 0 {
		return math.Inf(1)
	}
	return b.most
}

func (b bar) String() string {
	unit := ""
	if b.peer != "" {
		unit = "x"
	}
	switch {
	case b.lowest == 0:
		return fmt.Sprintf("<= %s%s", number(b.most), unit)
	case b.most == 0:
		return fmt.Sprintf(">= %s%s", number(b.lowest), unit)
	default:
		return fmt.Sprintf("%s%s .. %s%s", number(b.lowest), unit, number(b.most), unit)
	}
}
