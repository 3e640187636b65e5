//go:build !linux

package storewatch

import (
	"context"
	"errors"
	"time"
)

// Watch tells nothing here.
type Watch struct{}

// Granted fails.
func Granted() error { return errors.ErrUnsupported }

// Find fails: only Linux lets one process watch the stores of another.
func Find(context.Context, File, time.Duration) (*Watch, error) { return nil, errors.ErrUnsupported }

// FD is no file.
func (w *Watch) FD() int { return -1 }

// Told tells nothing.
func (w *Watch) Told() bool { return false }

// Counted counts nothing.
func (w *Watch) Counted() bool { return false }

// Close has nothing to end.
func (w *Watch) Close() error { return nil }
