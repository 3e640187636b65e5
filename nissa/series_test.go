package nissa

import (
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/telemetry"
)

func TestEveryMetricPointIsShown(t *testing.T) {
	r := newRecorder(Config{})
	r.recordTelemetry(packet("weatherlight").
		Metric("weatherlight.tasks.running", 7, "count").
		Metric("tolaria.train.graph_enabled", 1, "bool").
		Metric("tolaria.graph.replay_ms", 0.3, "ms").
		Metric("tamiyo.gnn.feature_coverage", 0.9, "ratio").
		Metric("tamiyo.gnn.feature_coverage.edges.layer_connects", 0.5, "ratio").
		Metric("tamiyo.gnn.coverage.global.loss", 0.25, "ratio").
		Metric("simic.training.iterations", 40, "").
		Build())
	wantSeries(t, r, map[string]string{
		`weatherlight_tasks_running{source="weatherlight"}`:                                         "7",
		`tolaria_graph_enabled{source="weatherlight"}`:                                              "1",
		`tolaria_graph_replay_ms{source="weatherlight"}`:                                            "0.3",
		`tamiyo_gnn_feature_coverage{source="weatherlight"}`:                                        "0.9",
		`tamiyo_gnn_feature_coverage_by_type{feature="edges.layer_connects",source="weatherlight"}`: "0.5",
		`tamiyo_gnn_feature_coverage_by_type{feature="global.loss",source="weatherlight"}`:          "0.25",
		`esper_simic_training_iterations_total{source="weatherlight"}`:                              "40",
		`esper_telemetry_packets_total{source="weatherlight"}`:                                      "1",
		`nissa_ingest_latency_ms_count{type="telemetry"}`:                                           "1",
		`nissa_series`: "7",
	})
}

// R21: a sum over the targets of Prometheus counted what a Weatherlight shows itself twice.
func TestR21WhatASenderShowsItselfIsNotShownAgain(t *testing.T) {
	r := newRecorder(Config{})
	r.recordTelemetry(packet("weatherlight").Metric("oona.publish_total", 7, "count").
		Indicator("instance", "one").Indicator("metrics", "exposed").Build())
	r.recordTelemetry(packet("weatherlight").Metric("oona.publish_total", 5, "count").Indicator("instance", "two").Build())
	wantNoSeries(t, r, `oona_publish_total{sender="one"`)
	wantSeries(t, r, map[string]string{
		`oona_publish_total{sender="two",source="weatherlight"}`: "5",
		`esper_telemetry_packets_total{source="weatherlight"}`:   "2",
	})
}

// R21: 209 series had one HELP text.
func TestR21SeriesThatAreKnownSayWhatTheyMean(t *testing.T) {
	r := newRecorder(Config{Points: []telemetry.Series{{Name: "tamiyo_validation_loss", Unit: "loss", Meaning: "What was told."}}})
	r.recordTelemetry(packet("tamiyo").Metric("tamiyo.validation_loss", 1, "loss").Metric("mine", 1, "").Build())
	if got := family(t, r, "tamiyo_validation_loss").GetHelp(); got != "What was told. Unit: loss." {
		t.Errorf("HELP is %q", got)
	}
	if got := family(t, r, "mine").GetHelp(); got != pointHelp {
		t.Errorf("HELP of a series that nobody knows is %q", got)
	}
}

func TestN21MetricAttributesAreLabels(t *testing.T) {
	r := newRecorder(Config{})
	r.recordTelemetry(packet("kasmina").
		Metric("kasmina.prefetch.requests_total", 3, "count", "status", "scheduled").
		Metric("kasmina.prefetch.requests_total", 2, "count", "status", "ready").
		Metric("odd", 1, "", "source", "me", "a.b", "1", "a-b", "2", "__x", "3", "", "4", "9", "5").
		Build())
	wantSeries(t, r, map[string]string{
		`kasmina_prefetch_requests_total{source="kasmina",status="scheduled"}`: "3",
		`kasmina_prefetch_requests_total{source="kasmina",status="ready"}`:     "2",
		`odd{a_b="2",attribute_source="me",n9="5",source="kasmina",x="3"}`:     "1",
	})
}

func TestN22ManySendersCannotFillTheMemory(t *testing.T) {
	r := newRecorder(Config{Limits: Limits{Series: 50, LabelValues: 5, Recent: 10}})
	for i := range 200 {
		name := fmt.Sprint("sender-", i)
		r.recordTelemetry(packet(name).Metric("m", float64(i), "").
			Event("bsds_hazard_high", 0, "provenance", name).Build())
		r.recordState(&leyline.SystemStatePacket{PacketId: name, TrainingRunId: name, SourceSubsystem: name})
	}
	wantSeries(t, r, map[string]string{
		`nissa_series`: "50",
		`nissa_points_dropped_total{reason="series_limit"}`:       "150",
		`esper_telemetry_packets_total{source="other"}`:           "195",
		`esper_tamiyo_bsds_hazard_high_total{provenance="other"}`: "195",
		`esper_system_state_packets_total{phase="other"}`:         "195",
	})
	if len(r.telemetry.known) != 10 || len(r.runs.known) != 10 {
		t.Errorf("%d ids and %d runs remembered", len(r.telemetry.known), len(r.runs.known))
	}
}

// R37: one sender could take the room of all others, and each label that was cut short
// kept the whole text in memory.
func TestR37OneSenderLeavesRoomToOthers(t *testing.T) {
	r := newRecorder(Config{Limits: Limits{Series: 50, SeriesOfSource: 25}})
	for i := range 200 {
		r.recordTelemetry(packet("greedy").Metric(fmt.Sprint("m", i), 1, "").Build())
	}
	r.recordTelemetry(packet("modest").Metric("figure", 7, "").Build())
	wantSeries(t, r, map[string]string{
		`nissa_series`:            "26",
		`figure{source="modest"}`: "7",
		`nissa_points_dropped_total{reason="source_limit"}`: "175",
	})
}

func TestR37LongTextsAreNotKept(t *testing.T) {
	r := newRecorder(Config{})
	for i := range 1000 {
		long := fmt.Sprintf("%04d", i) + strings.Repeat("x", 200_000)
		r.recordTelemetry(&leyline.TelemetryPacket{PacketId: long, SourceSubsystem: long, Metrics: []*leyline.MetricPoint{
			{Name: fmt.Sprint("m", i), Attributes: map[string]string{"a": long}},
		}})
		r.recordState(&leyline.SystemStatePacket{PacketId: long, TrainingRunId: long, SourceSubsystem: long})
	}
	runtime.GC()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	if memory.HeapAlloc > 50<<20 {
		t.Errorf("%d MB are held for 1,000 packets", memory.HeapAlloc>>20)
	}
	runtime.KeepAlive(r)
}

func TestSeriesNobodySpeaksOfDisappears(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder(Config{Limits: Limits{Series: 2, SeriesTTL: time.Minute}})
		r.recordTelemetry(packet("a").Metric("gone", 1, "").Metric("kept", 1, "").Build())
		time.Sleep(40 * time.Second)
		r.recordTelemetry(packet("a").Metric("kept", 2, "").Build())
		time.Sleep(40 * time.Second)
		wantNoSeries(t, r, "gone")
		wantSeries(t, r, map[string]string{`kept{source="a"}`: "2"})
		r.recordTelemetry(packet("a").Metric("new", 3, "").Build())
		wantSeries(t, r, map[string]string{`new{source="a"}`: "3"})
	})
}

func TestOvertakenPacketDoesNotTurnTheClockBack(t *testing.T) {
	r := newRecorder(Config{})
	older := packet("a").Metric("m", 1, "").Build()
	newer := packet("a").Metric("m", 2, "").Build()
	older.Timestamp = timestamppb.New(newer.GetTimestamp().AsTime().Add(-time.Second))
	r.recordTelemetry(newer)
	r.recordTelemetry(older)
	wantSeries(t, r, map[string]string{`m{source="a"}`: "2"})
}

func TestSenderWithAFastClockDoesNotFreezeItsGauges(t *testing.T) {
	r := newRecorder(Config{})
	fast := packet("a").Metric("m", 1, "").Build()
	fast.Timestamp = timestamppb.New(time.Now().Add(time.Hour))
	r.recordTelemetry(fast)
	r.recordTelemetry(packet("a").Metric("m", 2, "").Build())
	wantSeries(t, r, map[string]string{`m{source="a"}`: "2"})
}

// Thousands of sources with a few series each take nothing from who was there before them, and do
// not keep him from having more. One that has very many gives some up for who has few.
func TestSourcesHaveTheirShareOfTheSeries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder(Config{Limits: Limits{Series: 160}})
		speak := func(source string, series int) {
			p := packet(source)
			for n := range series {
				p.Metric(fmt.Sprint("m", n), 1, "")
			}
			r.recordTelemetry(p.Build())
		}
		shown := func(source string) (n int) {
			for series := range scrape(t, r) {
				if strings.Contains(series, fmt.Sprintf("source=%q", source)) && strings.HasPrefix(series, "m") {
					n++
				}
			}
			return n
		}
		speak("honest", 4)
		flood := func() {
			for n := range 400 {
				speak(fmt.Sprint("flood-", n), 3)
			}
		}
		flood()
		if got := shown("honest"); got != 4 {
			t.Errorf("%d of 4 series are left", got)
		}
		for range 3 {
			time.Sleep(2 * time.Second)
			speak("honest", 10)
			flood()
		}
		if got := shown("honest"); got != 10 {
			t.Errorf("%d series, though 10 are its share", got)
		}
		wantSeries(t, r, map[string]string{"nissa_series": "160"})

		r = newRecorder(Config{Limits: Limits{Series: 160}})
		speak("large", 80)
		speak("larger", 80)
		for range 3 {
			speak("late", 5)
			time.Sleep(2 * time.Second)
		}
		if got, large := shown("late"), shown("large"); got != 5 || large < 70 {
			t.Errorf("%d series of who came late, %d of a large one", got, large)
		}
		wantSeries(t, r, map[string]string{`nissa_points_dropped_total{reason="displaced"}`: "5"})
	})
}

func TestMetricCannotTakeTheServicesOwnNames(t *testing.T) {
	r := newRecorder(Config{})
	r.recordTelemetry(packet("a").
		Metric("esper.telemetry_packets_total", 9, "").
		Metric("nissa.ingest_latency_ms_bucket", 9, "").
		Metric("go.goroutines", 9, "").
		Metric("up", 0, "").
		Metric("ALERTS", 1, "").
		Metric("scrape.duration_seconds", 1, "").
		Metric("...", 9, "").
		Metric("", 9, "").
		Metric(strings.Repeat("x", 300), 9, "").
		Build())
	wantSeries(t, r, map[string]string{
		`esper_telemetry_packets_total{source="a"}`:          "1",
		`nissa_points_dropped_total{reason="reserved_name"}`: "6",
		`nissa_points_dropped_total{reason="invalid_name"}`:  "3",
	})
}

// A series of a sender is no part of one of ours, nor of a histogram or summary of anybody's, in no
// format that a scraper may ask for.
func TestMetricIsNoPartOfAnotherSeries(t *testing.T) {
	r := newRecorder(Config{})
	forged := packet("a").Metric("a.latency", 1, "", "le", "0.5", "quantile", "0.9")
	for _, row := range r.counts.rows {
		if strings.HasPrefix(row.Name, "nissa_") {
			continue // all of those are ours
		}
		for _, part := range []string{"", "_bucket", "_sum", "_count", "_created", "_total"} {
			forged.Metric(strings.TrimSuffix(row.Name, "_total")+part, 9, "", "le", "0.1")
		}
		if name, is := strings.CutSuffix(row.Name, "_seconds"); is {
			forged.Metric(name, 9, "s") // which gets its base unit
		}
	}
	r.recordTelemetry(forged.Build())
	wantSeries(t, r, map[string]string{`a_latency{attribute_le="0.5",attribute_quantile="0.9",source="a"}`: "1"})
	for series, value := range scrape(t, r) {
		if strings.Contains(series, `source="a"`) && (value == "9" || strings.Contains(series, `le="0.1"`)) {
			t.Errorf("forged: %s %s", series, value)
		}
	}
}

func TestHostileTelemetryNeverBreaksTheScrape(t *testing.T) {
	text := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{
		"source", "a.b", "a_b", "\xff\xfe", "__name__", "le", "feature", "tamiyo.gnn.coverage.", "esper.field_reports_total",
		"nissa_series", "9lives", strings.Repeat("é", 300), "line\nbreak", `quote"`,
	}))
	rapid.Check(t, func(rt *rapid.T) {
		r := newRecorder(Config{Limits: Limits{Series: 8, LabelValues: 3, Recent: 4}})
		for range rapid.IntRange(1, 8).Draw(rt, "packets") {
			p := packet(text.Draw(rt, "source"))
			for range rapid.IntRange(0, 4).Draw(rt, "points") {
				value := rapid.SampledFrom([]float64{0, 1, math.NaN(), math.Inf(-1)}).Draw(rt, "value")
				p.Metric(text.Draw(rt, "name"), value, "", text.Draw(rt, "key"), text.Draw(rt, "text"),
					text.Draw(rt, "key"), text.Draw(rt, "text"))
			}
			built := p.Build()
			if rapid.Bool().Draw(rt, "undated") {
				built.Timestamp = &timestamppb.Timestamp{Nanos: -1}
			}
			r.recordTelemetry(built)
			r.recordState(&leyline.SystemStatePacket{SourceSubsystem: text.Draw(rt, "phase")})
		}
		if r.series.size() > 8 {
			rt.Fatalf("%d series", r.series.size())
		}
		scrape(t, r)
	})
}

func FuzzSeriesNames(f *testing.F) {
	f.Add("kasmina", "kasmina.prefetch.requests_total", "status", "ready")
	f.Add("", "tamiyo.gnn.coverage.", "source", "\xff")
	f.Fuzz(func(t *testing.T, source, metric, key, value string) {
		r := newRecorder(Config{})
		r.recordTelemetry(packet(source).Metric(metric, 1, "", key, value).Build())
		scrape(t, r)
	})
}

// Who took the room of all others keeps it no longer than he speaks.
func TestSilentSourcesMakeRoomForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder(Config{Limits: Limits{LabelValues: 3, SeriesTTL: time.Minute}})
		speak := func(sources ...string) {
			for _, source := range sources {
				r.recordTelemetry(packet(source).Build())
			}
		}
		speak("steady", "a", "b", "c")
		wantSeries(t, r, map[string]string{`esper_telemetry_packets_total{source="other"}`: "1"})
		time.Sleep(40 * time.Second)
		speak("steady", "c")
		wantSeries(t, r, map[string]string{`esper_telemetry_packets_total{source="other"}`: "2"})
		time.Sleep(40 * time.Second)
		speak("steady", "c", "d", "e")
		wantSeries(t, r, map[string]string{
			`esper_telemetry_packets_total{source="steady"}`: "3", `esper_telemetry_packets_total{source="c"}`: "1",
			`esper_telemetry_packets_total{source="d"}`: "1", `esper_telemetry_packets_total{source="other"}`: "3",
		})
		wantNoSeries(t, r, `esper_telemetry_packets_total{source="a"}`)
	})
}
