package catalogue

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/urza/internal/fault"
)

// awaitParts waits until so many saves wait for their transaction.
func awaitParts(t *testing.T, c *Catalogue, n int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; runtime.Gosched() {
		c.waiting.mu.Lock()
		waiting := len(c.waiting.parts)
		c.waiting.mu.Unlock()
		if waiting == n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d saves wait, want %d", waiting, n)
		}
	}
}

func rowOf(id, metadata string) Row {
	return Row{ID: id, Name: "n", Tier: "BLUEPRINT_TIER_SAFE", Path: "/" + id, Metadata: metadata}
}

func TestSaveThatFailsDoesNotFailItsNeighbours(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, c *Catalogue) {
		const saves = 12
		impatient, giveUp := context.WithCancel(t.Context())
		errBuild := errors.New("no row")
		c.writer <- struct{}{} // hold the others up
		errs := make([]error, saves)
		var group sync.WaitGroup
		for i := range saves {
			group.Go(func() {
				ctx, id, fails := t.Context(), fmt.Sprintf("BP%03d", i), error(nil)
				switch i % 3 {
				case 1:
					fails = errBuild
				case 2:
					ctx = impatient
				}
				errs[i] = c.Save(ctx, id, func(context.Context, string) (Row, error) { return rowOf(id, "{}"), fails })
			})
		}
		awaitParts(t, c, saves)
		giveUp()
		awaitParts(t, c, saves*2/3)
		<-c.writer
		group.Wait()
		for i, err := range errs {
			found, missing := c.Row(t.Context(), Key{ID: fmt.Sprintf("BP%03d", i)})
			if want := []error{nil, errBuild, context.Canceled}[i%3]; !errors.Is(err, want) {
				t.Errorf("save %d: %v", i, err)
			}
			if saved := i%3 == 0; saved != (missing == nil) || !saved && !errors.Is(missing, fault.ErrNotFound) {
				t.Errorf("row %d: %+v, %v", i, found, missing)
			}
		}
	})
}

func TestSavesOfOneBlueprintTogetherSeeEachOther(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, c *Catalogue) {
		const saves = maxGroup + 10
		c.writer <- struct{}{}
		var group sync.WaitGroup
		for range saves {
			group.Go(func() {
				err := c.Save(t.Context(), "BP001", func(_ context.Context, previous string) (Row, error) {
					return rowOf("BP001", previous+"x"), nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		awaitParts(t, c, saves)
		<-c.writer
		group.Wait()
		if found, err := c.Row(t.Context(), Key{ID: "BP001"}); err != nil || len(found.Metadata) != saves {
			t.Errorf("%+v, %v", found, err)
		}
	})
}

func TestSavesFailWhenTheDatabaseIsGone(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, c *Catalogue) {
		c.writer <- struct{}{}
		var group sync.WaitGroup
		for range 5 {
			group.Go(func() {
				err := c.Save(t.Context(), "BP001", func(context.Context, string) (Row, error) { return rowOf("BP001", "{}"), nil })
				if !errors.Is(err, fault.ErrUnavailable) {
					t.Error(err)
				}
			})
		}
		awaitParts(t, c, 5)
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		<-c.writer
		group.Wait()
	})
}
