package elastic

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"github.com/esper-lite/weatherlight/internal/cadence"
)

const longestPause = 30 * time.Second

// lane is the way of documents to one index.
type lane struct {
	config   Config
	client   *client
	figures  *figures
	index    string
	template string
	spool    *spool
	logger   *slog.Logger

	mu   sync.Mutex
	lost int // documents in a row that found no room

	// Of the loop alone.
	prepared bool // the template of the index was put
	failing  bool
	pause    time.Duration
}

// kept counts what found no room, and tells when that begins and when it ends.
func (l *lane) kept(err error) {
	if err != nil {
		reason := dropSpool
		if errors.Is(err, errFull) {
			reason = dropFull
		}
		l.figures.dropped.WithLabelValues(l.index, reason).Inc()
	}
	l.mu.Lock()
	lost := l.lost
	l.lost++
	if err == nil {
		l.lost = 0
	}
	l.mu.Unlock()
	switch {
	case err != nil && lost == 0:
		l.logger.Warn("documents for Elasticsearch are dropped", "error", err)
	case err == nil && lost > 0:
		l.logger.Info("documents for Elasticsearch find room again", "dropped", lost)
	}
}

// run sends what is in the spool until ctx ends.
func (l *lane) run(ctx context.Context) {
	timer := time.NewTicker(l.config.Interval)
	defer timer.Stop()
	for {
		for l.sendOldest(ctx) {
		}
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-l.spool.grown:
		}
	}
}

// sendOldest sends a file of the spool and removes it. It is false when there is nothing to do.
func (l *lane) sendOldest(ctx context.Context) bool {
	file, found := l.spool.oldest()
	if !found || ctx.Err() != nil {
		return false
	}
	text, err := l.spool.read(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.tell(fmt.Errorf("read the spool: %w", err))
		return l.rest(ctx)
	}
	items, damaged := itemsOf(text)
	if damaged = max(damaged, file.documents-len(items)); damaged > 0 {
		l.figures.dropped.WithLabelValues(l.index, dropDamaged).Add(float64(damaged))
		l.logger.Warn("documents in the spool were damaged", "file", l.spool.path(file.number), "documents", damaged)
	}
	if !l.send(ctx, items) {
		return false
	}
	if err := l.spool.remove(file); err != nil {
		l.tell(fmt.Errorf("tidy up the spool: %w", err))
		return l.rest(ctx)
	}
	return true
}

// send returns when each document has its answer; false when ctx ended before. A request that is
// too much as a whole is sent in halves.
func (l *lane) send(ctx context.Context, items []item) bool {
	for len(items) > 0 {
		v, err := l.ask(ctx, items)
		if ctx.Err() != nil {
			return false
		}
		if errors.Is(err, errUnfit) && len(items) > 1 {
			half := len(items) / 2
			return l.send(ctx, items[:half]) && l.send(ctx, items[half:])
		}
		if errors.Is(err, errUnfit) {
			v, err = verdict{refused: items, why: err.Error()}, nil
		}
		if errors.Is(err, errAway) { // who comes back may be another one
			l.prepared = false
		}
		if err != nil {
			v = verdict{again: items, why: err.Error()}
		}
		l.count(v)
		if items = v.again; len(items) > 0 && !l.rest(ctx) {
			return false
		}
	}
	return true
}

// ask sends documents, behind the template that their index is made by.
func (l *lane) ask(ctx context.Context, items []item) (verdict, error) {
	if !l.prepared {
		refused, err := l.client.putTemplate(ctx, l.index, l.template)
		if err != nil {
			return verdict{}, fmt.Errorf("put the index template of %s: %w", l.index, err)
		}
		if refused != nil {
			l.logger.Warn("an index template is not taken: its index is made without it", "error", refused)
		}
		l.prepared = true
	}
	began := time.Now()
	v, err := l.client.bulk(ctx, items)
	l.figures.batches.Inc()
	l.figures.latency.Observe(float64(time.Since(began).Microseconds()) / 1000)
	return v, err
}

func (l *lane) count(v verdict) {
	l.figures.indexed.Add(float64(v.taken))
	l.figures.failed.Add(float64(len(v.refused)))
	l.figures.retries.Add(float64(len(v.again)))
	if len(v.refused) > 0 {
		l.logger.Warn("Elasticsearch refuses documents", "documents", len(v.refused), "error", v.why)
	}
	if v.taken > 0 {
		l.pause = 0
	}
	if len(v.again) > 0 {
		l.tell(errors.New(v.why))
		return
	}
	if l.failing {
		l.logger.Info("Elasticsearch takes documents again")
	}
	l.failing, l.pause = false, 0
}

// tell says once that documents wait, and why.
func (l *lane) tell(err error) {
	if !l.failing {
		documents, _ := l.spool.waiting()
		l.logger.Warn("documents for Elasticsearch wait", "documents", documents, "error", err)
	}
	l.failing = true
}

// rest waits before something is tried again, longer each time; false when ctx ended.
func (l *lane) rest(ctx context.Context) bool {
	l.pause = min(max(2*l.pause, l.config.Pause), longestPause)
	return cadence.Sleep(ctx, l.pause)
}
