// Command bench measures Weatherlight side by side with its peers: raw Redis
// through the same client, Watermill's Redis Streams driver, and the figures of
// the Python prototype. It starts its own redis-server on loopback without
// persistence, prints a table and writes the results as JSON.
//
// A figure is the median of interleaved runs: in each run every peer has its
// turn, so that what else the machine does hits all of them alike.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"time"
)

// options are the flags of a run.
type options struct {
	runs    int
	quick   bool
	only    *regexp.Regexp
	out     string
	profile string
}

func main() {
	if code, done := runChild(os.Args[1:]); done {
		os.Exit(code)
	}
	options, err := parseOptions(os.Args[1:])
	if err != nil {
		os.Exit(2)
	}
	if err := runInterruptibly(options); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func runInterruptibly(o options) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return run(ctx, o)
}

func parseOptions(args []string) (options, error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	var o options
	only := ""
	flags.IntVar(&o.runs, "runs", 5, "interleaved runs; a figure is the median of them")
	flags.BoolVar(&o.quick, "quick", false, "one short run, to see that everything works")
	flags.StringVar(&only, "only", "", "measure only rows whose name matches this regular expression")
	flags.StringVar(&o.out, "o", "results.json", "file to write the results to")
	flags.StringVar(&o.profile, "profile", "",
		"write CPU profiles of the service under requests to this name with .redis and .embedded appended")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if o.runs < 1 {
		return o, errors.New("-runs must be positive")
	}
	if o.quick {
		o.runs = 1
	}
	var err error
	if o.profile != "" {
		if o.profile, err = filepath.Abs(o.profile); err != nil { // children run elsewhere
			return o, err
		}
	}
	if o.only, err = regexp.Compile(only); err != nil {
		fmt.Fprintln(os.Stderr, "bench: -only:", err)
	}
	return o, err
}

// run measures every group of rows and reports what came of them.
func run(ctx context.Context, o options) error {
	b, err := newBench(ctx, o)
	if err != nil {
		return err
	}
	err = b.measureAll(ctx)
	rows := b.table.rows()
	printTable(os.Stdout, rows) // also what there is before a failure
	if err := errors.Join(err, b.close()); err != nil {
		return err
	}
	return writeResults(o.out, rows)
}

// group is a set of rows that are measured together.
type group struct {
	rows    []row
	measure func(context.Context, *bench) error
}

// groups are all there is to measure, in the order of the report.
func groups() []group {
	return []group{
		{prefetchRows(), measurePrefetch},
		{embeddedRows(), measureEmbedded},
		{prefetchFlatRows(), measurePrefetchFlat},
		{growthRows(), measureGrowth},
		{graftRows(), measureGraft},
		{decisionRows(), measureDecision},
		{lifecycleRows(), measureLifecycle},
		{signalRows(), measureSignals},
		{alertRows(), measureAlerts},
		{busRows(), measureBus},
		{flatRows(), measureFlat},
		{backlogRows(), measureBacklog},
		{ingestRows(), measureIngest},
		{browserRows(), measureBrowser},
		{handsRows(), measureHands},
		{supervisionRows(), measureSupervision},
		{saveRows(), measureSave},
		{kernelRows(), measureKernelStep},
		{kernelFileRows(), measureKernelFile},
		{demoRows(), measureDemo},
	}
}

// bench is what all measurements share.
type bench struct {
	options
	table  *table
	folder string // temporary: binaries and data
	redis  *redisServer
	tools  binaries // zero until they are needed
}

func newBench(ctx context.Context, o options) (*bench, error) {
	folder, err := os.MkdirTemp("", "esper-bench-")
	if err != nil {
		return nil, fmt.Errorf("make temporary folder: %w", err)
	}
	b := &bench{options: o, table: newTable(), folder: folder}
	if b.redis, err = startRedis(ctx, folder); err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	return b, nil
}

func (b *bench) close() error {
	return errors.Join(b.redis.quit(), os.RemoveAll(b.folder))
}

// measureAll runs the groups of which a row is asked for.
func (b *bench) measureAll(ctx context.Context) error {
	for _, g := range groups() {
		wanted := false
		for _, r := range g.rows {
			if b.only.MatchString(r.name) {
				b.table.add(r)
				wanted = true
			}
		}
		if !wanted {
			continue
		}
		begun := time.Now()
		if err := g.measure(ctx, b); err != nil {
			return fmt.Errorf("%s: %w", g.rows[0].name, err)
		}
		fmt.Fprintf(os.Stderr, "bench: %s and its like: %.1f s\n", g.rows[0].name, time.Since(begun).Seconds())
	}
	return nil
}

// pick is the full size of a measurement, or the quick one.
func (b *bench) pick(full, quick int) int {
	if b.quick {
		return quick
	}
	return full
}
