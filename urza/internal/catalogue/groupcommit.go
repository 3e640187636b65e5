package catalogue

import (
	"context"
	"database/sql"
	"errors"
	"sync"
)

// maxGroup bounds how many writers share one transaction.
const maxGroup = 64

// part is one writer's share of a transaction. It may be run again in another one,
// so it does nothing but write rows.
type part struct {
	ctx   context.Context //nolint:containedctx // of the writer, while it waits
	write func(context.Context, *sql.Tx) error
	done  chan error
}

// waiting holds the parts that the next transaction takes along.
type waiting struct {
	mu    sync.Mutex
	parts []*part
}

func (w *waiting) add(p *part) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.parts = append(w.parts, p)
}

func (w *waiting) take() []*part {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := min(len(w.parts), maxGroup)
	taken := w.parts[:n:n]
	w.parts = w.parts[n:]
	return taken
}

// withdraw is false when a transaction has taken the part already.
func (w *waiting) withdraw(p *part) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, waits := range w.parts {
		if waits == p {
			w.parts = append(w.parts[:i:i], w.parts[i+1:]...)
			return true
		}
	}
	return false
}

// writeInGroup is write for parts that may share a transaction: those that wait
// while one is on its way to the disk go with the next, all with one sync.
func (c *Catalogue) writeInGroup(ctx context.Context, write func(context.Context, *sql.Tx) error) error {
	mine := &part{ctx, write, make(chan error, 1)}
	c.waiting.add(mine)
	for {
		select {
		case c.writer <- struct{}{}:
			c.commit(c.waiting.take())
			<-c.writer
		case err := <-mine.done:
			return err
		case <-ctx.Done():
			if c.waiting.withdraw(mine) {
				return ctx.Err()
			}
			return <-mine.done // it is being written
		}
	}
}

// commit writes the parts in one transaction, and each in its own when that one
// fails as a whole.
func (c *Catalogue) commit(parts []*part) {
	if len(parts) == 0 {
		return
	}
	results := make([]error, len(parts))
	err := c.commitOnce(parts, results)
	if err != nil && len(parts) > 1 {
		for _, p := range parts {
			c.commit([]*part{p})
		}
		return
	}
	for i, p := range parts {
		p.done <- errors.Join(results[i], err)
	}
}

// commitOnce fills in what became of each part; its error is that of all of them.
func (c *Catalogue) commitOnce(parts []*part, results []error) error {
	// Detached: the transaction is not one writer's, and no one's patience may end it.
	ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
	defer cancel()
	return c.transact(ctx, func(tx *sql.Tx) error {
		if len(parts) == 1 {
			return parts[0].write(ctx, tx) // nobody to draw in
		}
		for i, p := range parts {
			if results[i] = p.ctx.Err(); results[i] != nil {
				continue
			}
			if err := runPart(ctx, tx, p, &results[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// runPart undoes a part that fails, so that the others are not drawn in.
func runPart(ctx context.Context, tx *sql.Tx, p *part, result *error) error {
	if err := execute(ctx, tx, "mark part", "SAVEPOINT part"); err != nil {
		return err
	}
	if *result = p.write(ctx, tx); *result != nil {
		if err := execute(ctx, tx, "undo part", "ROLLBACK TO SAVEPOINT part"); err != nil {
			return err
		}
	}
	return execute(ctx, tx, "end part", "RELEASE SAVEPOINT part")
}
