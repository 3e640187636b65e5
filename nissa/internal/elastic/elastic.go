package elastic

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/esper-lite/weatherlight/internal/cadence"
	"github.com/esper-lite/weatherlight/nissa/internal/runs"
)

// Config configures an [Indexer].
type Config struct {
	URL      string        // of Elasticsearch or OpenSearch: http(s)://user:password@host:port
	Dir      string        // folder of the spool, which no other process may have
	MaxBytes int64         // of documents that wait there; default 256 MiB
	Interval time.Duration // most that a document waits for others to go with it; default 1 s
	Batch    int64         // bytes of one bulk request, about; default 2 MiB
	Pause    time.Duration // before the first repetition; default 500 ms, doubled up to 30 s
	Logger   *slog.Logger
}

func (c Config) withDefaults() Config {
	c.MaxBytes = cmp.Or(max(c.MaxBytes, 0), 256<<20)
	c.Interval = cmp.Or(max(c.Interval, 0), time.Second)
	c.Batch = cmp.Or(max(c.Batch, 0), 2<<20)
	c.Pause = cmp.Or(max(c.Pause, 0), 500*time.Millisecond)
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	return c
}

const longestPause = 30 * time.Second

// Indexer keeps documents of messages. It is safe for concurrent use.
type Indexer struct {
	config    Config
	client    *client
	spool     *spool
	figures   *figures
	templates map[string]string

	mu   sync.Mutex
	lost int // documents in a row that found no room

	// Of the loop alone.
	unprepared []string // indices whose templates are not put yet
	failing    bool
	pause      time.Duration
}

// Open takes up what another process left in the spool. It does not ask for the server.
func Open(config Config) (*Indexer, error) {
	config = config.withDefaults()
	client, err := newClient(config.URL)
	if err != nil {
		return nil, err
	}
	templates, err := templates()
	if err != nil {
		return nil, err
	}
	spool, err := openSpool(config.Dir, config.MaxBytes, config.Batch)
	if err != nil {
		return nil, fmt.Errorf("open the spool of documents: %w", err)
	}
	x := &Indexer{config: config, client: client, spool: spool, figures: newFigures(), templates: templates}
	x.unprepared = slices.Sorted(maps.Keys(templates))
	return x, nil
}

// Close leaves what waits on the disk. Nothing else may run any more.
func (x *Indexer) Close() error {
	x.client.close()
	return x.spool.close()
}

// Keep writes the document of a message into the spool, if it is of a kind that is kept. A document
// for which there is no room is dropped and counted: nobody waits.
func (x *Indexer) Keep(message *runs.Message) {
	index := indexOf(message.Payload)
	if index == "" {
		return
	}
	lines, err := linesOf(index, message)
	if err != nil {
		x.figures.dropped.WithLabelValues(dropNoJSON).Inc()
		x.config.Logger.Debug("a message has no document", "index", index, "entry", message.Entry, "error", err)
		return
	}
	x.kept(x.spool.add(lines))
}

// kept counts what found no room, and tells when that begins and when it ends.
func (x *Indexer) kept(err error) {
	if err != nil {
		reason := dropSpool
		if errors.Is(err, errFull) {
			reason = dropFull
		}
		x.figures.dropped.WithLabelValues(reason).Inc()
	}
	x.mu.Lock()
	lost := x.lost
	x.lost++
	if err == nil {
		x.lost = 0
	}
	x.mu.Unlock()
	switch {
	case err != nil && lost == 0:
		x.config.Logger.Warn("documents for Elasticsearch are dropped", "error", err)
	case err == nil && lost > 0:
		x.config.Logger.Info("documents for Elasticsearch find room again", "dropped", lost)
	}
}

// Run sends what is in the spool until ctx ends. It never fails: a server that is away is asked
// again, and what waits stays on the disk.
func (x *Indexer) Run(ctx context.Context) error {
	timer := time.NewTicker(x.config.Interval)
	defer timer.Stop()
	for {
		for x.sendOldest(ctx) {
		}
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-x.spool.grown:
		}
	}
}

// sendOldest sends a file of the spool and removes it. It is false when there is nothing to do.
func (x *Indexer) sendOldest(ctx context.Context) bool {
	file, found := x.spool.oldest()
	if !found || ctx.Err() != nil {
		return false
	}
	text, err := x.spool.read(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		x.tell(fmt.Errorf("read the spool: %w", err))
		return x.rest(ctx)
	}
	items, damaged := itemsOf(text)
	if damaged = max(damaged, file.documents-len(items)); damaged > 0 {
		x.figures.dropped.WithLabelValues(dropDamaged).Add(float64(damaged))
		x.config.Logger.Warn("documents in the spool were damaged", "file", x.spool.path(file.number), "documents", damaged)
	}
	if !x.send(ctx, items) {
		return false
	}
	if err := x.spool.remove(file); err != nil {
		x.tell(fmt.Errorf("tidy up the spool: %w", err))
		return x.rest(ctx)
	}
	return true
}

// send returns when each document has its answer; false when ctx ended before. A request that is
// too much as a whole is sent in halves.
func (x *Indexer) send(ctx context.Context, items []item) bool {
	for len(items) > 0 {
		v, err := x.ask(ctx, items)
		if ctx.Err() != nil {
			return false
		}
		if errors.Is(err, errUnfit) && len(items) > 1 {
			half := len(items) / 2
			return x.send(ctx, items[:half]) && x.send(ctx, items[half:])
		}
		if errors.Is(err, errUnfit) {
			v, err = verdict{refused: items, why: err.Error()}, nil
		}
		if errors.Is(err, errAway) { // who comes back may be another one
			x.unprepared = slices.Sorted(maps.Keys(x.templates))
		}
		if err != nil {
			v = verdict{again: items, why: err.Error()}
		}
		x.count(v)
		if items = v.again; len(items) > 0 && !x.rest(ctx) {
			return false
		}
	}
	return true
}

// ask sends documents, behind the templates that their indices are made by.
func (x *Indexer) ask(ctx context.Context, items []item) (verdict, error) {
	for len(x.unprepared) > 0 {
		index := x.unprepared[0]
		refused, err := x.client.putTemplate(ctx, index, x.templates[index])
		if err != nil {
			return verdict{}, fmt.Errorf("put the index template of %s: %w", index, err)
		}
		if refused != nil {
			x.config.Logger.Warn("an index template is not taken: its index is made without it", "index", index, "error", refused)
		}
		x.unprepared = x.unprepared[1:]
	}
	began := time.Now()
	v, err := x.client.bulk(ctx, items)
	x.figures.batches.Inc()
	x.figures.latency.Observe(float64(time.Since(began).Microseconds()) / 1000)
	return v, err
}

func (x *Indexer) count(v verdict) {
	x.figures.indexed.Add(float64(v.taken))
	x.figures.failed.Add(float64(len(v.refused)))
	x.figures.retries.Add(float64(len(v.again)))
	if len(v.refused) > 0 {
		x.config.Logger.Warn("Elasticsearch refuses documents", "documents", len(v.refused), "error", v.why)
	}
	if v.taken > 0 {
		x.pause = 0
	}
	if len(v.again) > 0 {
		x.tell(errors.New(v.why))
		return
	}
	if x.failing {
		x.config.Logger.Info("Elasticsearch takes documents again")
	}
	x.failing, x.pause = false, 0
}

// tell says once that documents wait, and why.
func (x *Indexer) tell(err error) {
	if !x.failing {
		documents, _ := x.spool.waiting()
		x.config.Logger.Warn("documents for Elasticsearch wait", "documents", documents, "error", err)
	}
	x.failing = true
}

// rest waits before something is tried again, longer each time; false when ctx ended.
func (x *Indexer) rest(ctx context.Context) bool {
	x.pause = min(max(2*x.pause, x.config.Pause), longestPause)
	return cadence.Sleep(ctx, x.pause)
}
