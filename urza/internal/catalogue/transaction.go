package catalogue

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/esper-lite/weatherlight/urza/internal/fault"
)

// Write runs one transaction in which nobody else writes, in this process or another.
func (c *Catalogue) Write(ctx context.Context, change func(context.Context, *sql.Tx) error) error {
	select {
	case c.writer <- struct{}{}:
		defer func() { <-c.writer }()
	case <-ctx.Done():
		return ctx.Err()
	}
	bounded, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if err := c.db.inPlace(); err != nil {
		return err
	}
	err := c.transact(bounded, func(tx *sql.Tx) error { return change(bounded, tx) })
	c.db.Doubt(err)
	if err != nil && ctx.Err() == nil && bounded.Err() != nil {
		return fmt.Errorf("%w: not written within %s", fault.ErrUnavailable, writeTimeout)
	}
	return err
}

// writeTimeout bounds a transaction in a database that hangs; the others wait for it.
const writeTimeout = 30 * time.Second

func (c *Catalogue) transact(ctx context.Context, change func(*sql.Tx) error) error {
	tx, err := c.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("%w: begin: %w", fault.ErrUnavailable, err)
	}
	if err := c.lockAnd(ctx, tx, change); err != nil {
		return errors.Join(err, rollback(tx))
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("%w: commit: %w", fault.ErrUnavailable, err)
	}
	return nil
}

func (c *Catalogue) lockAnd(ctx context.Context, tx *sql.Tx, change func(*sql.Tx) error) error {
	if lock := c.db.dialect.lock; lock != "" {
		if err := execute(ctx, tx, "lock", lock); err != nil {
			return err
		}
	}
	return change(tx)
}

// execute runs one statement; what names it in the error.
func execute(ctx context.Context, tx *sql.Tx, what, statement string, args ...any) error {
	if _, err := tx.ExecContext(ctx, statement, args...); err != nil {
		return fmt.Errorf("%w: %s: %w", fault.ErrUnavailable, what, err)
	}
	return nil
}

// writeOne is Write for one statement.
func (c *Catalogue) writeOne(ctx context.Context, what, statement string, args ...any) error {
	return c.Write(ctx, func(ctx context.Context, tx *sql.Tx) error { return execute(ctx, tx, what, statement, args...) })
}

// rollback ends a transaction that a cancelled context may have ended already.
func rollback(tx *sql.Tx) error {
	if err := tx.Rollback(); err != nil && !errors.Is(err, sql.ErrTxDone) {
		return fmt.Errorf("roll back: %w", err)
	}
	return nil
}
