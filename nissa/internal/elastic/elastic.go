package elastic

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/esper-lite/weatherlight/nissa/internal/runs"
)

// Config configures an [Indexer].
type Config struct {
	URL      string        // of Elasticsearch or OpenSearch: http(s)://user:password@host:port
	Dir      string        // folder of the spools, which no other process may have
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

// Indexer keeps documents of messages. It is safe for concurrent use.
type Indexer struct {
	config  Config
	client  *client
	figures *figures
	lanes   map[string]*lane // by index
}

// Open takes up what another process left in the spools. It does not ask for the server.
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
	x := &Indexer{config: config, client: client, figures: newFigures(slices.Sorted(maps.Keys(templates))), lanes: map[string]*lane{}}
	if err := x.openSpools(templates); err != nil {
		return nil, errors.Join(fmt.Errorf("open the spool of documents: %w", err), x.Close())
	}
	return x, nil
}

func (x *Indexer) openSpools(templates map[string]string) error {
	room := newRoom(x.config.MaxBytes, len(templates))
	for _, index := range slices.Sorted(maps.Keys(templates)) { // of two processes the first of the locks decides
		spool, err := openSpool(filepath.Join(x.config.Dir, index), room, x.config.Batch)
		if err != nil {
			return err
		}
		logger := x.config.Logger.With("index", index)
		x.lanes[index] = &lane{
			config: x.config, client: x.client, figures: x.figures, index: index, template: templates[index],
			spool: spool, logger: logger,
		}
	}
	return nil
}

// Close leaves what waits on the disk. Nothing else may run any more.
func (x *Indexer) Close() (err error) {
	x.client.close()
	for _, lane := range x.lanes {
		err = errors.Join(err, lane.spool.close())
	}
	return err
}

// Keep writes the document of a message into the spool of its index, if it is of a kind that is
// kept. A document for which there is no room is dropped and counted: nobody waits.
func (x *Indexer) Keep(message *runs.Message) {
	index := indexOf(message.Payload)
	if index == "" {
		return
	}
	lines, err := linesOf(index, message)
	if err != nil {
		x.figures.dropped.WithLabelValues(index, dropNoJSON).Inc()
		x.config.Logger.Debug("a message has no document", "index", index, "entry", message.Entry, "error", err)
		return
	}
	lane := x.lanes[index]
	lane.kept(lane.spool.add(lines))
}

// Run sends what is in the spools until ctx ends. It never fails: a server that is away is asked
// again, and what waits stays on the disk. Each index is on its own: one that takes nothing holds up
// no other.
func (x *Indexer) Run(ctx context.Context) error {
	var lanes sync.WaitGroup
	for _, lane := range x.lanes {
		lanes.Go(func() { lane.run(ctx) })
	}
	lanes.Wait()
	return nil
}
