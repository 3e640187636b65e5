package urza

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"
)

// awaitParts waits until so many saves wait for their transaction.
func awaitParts(t *testing.T, library *Library, n int) {
	t.Helper()
	w := &library.catalogue.waiting
	for deadline := time.Now().Add(10 * time.Second); ; runtime.Gosched() {
		w.mu.Lock()
		waiting := len(w.parts)
		w.mu.Unlock()
		if waiting == n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d saves wait, want %d", waiting, n)
		}
	}
}

func TestSaveThatFailsDoesNotFailItsNeighbours(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, newConfig configFor) {
		library := openTest(t, newConfig(t.TempDir()))
		const saves = 12
		impatient, giveUp := context.WithCancel(context.Background())
		library.catalogue.writer <- struct{}{} // hold the others up
		errs := make([]error, saves)
		var group sync.WaitGroup
		for i := range saves {
			group.Go(func() {
				ctx, extras := context.Background(), map[string]any(nil)
				switch i % 3 {
				case 1:
					extras = map[string]any{"not JSON": func() {}}
				case 2:
					ctx = impatient
				}
				_, errs[i] = library.Save(ctx, descriptor(fmt.Sprintf("BP%03d", i)), fmt.Append(nil, i), nil, extras)
			})
		}
		awaitParts(t, library, saves)
		giveUp()
		awaitParts(t, library, saves*2/3)
		<-library.catalogue.writer
		group.Wait()
		for i, err := range errs {
			good := i%3 == 0
			if (err == nil) != good || has(t, library, fmt.Sprintf("BP%03d", i)) != good {
				t.Errorf("save %d: %v", i, err)
			}
			if i%3 == 2 && !errors.Is(err, context.Canceled) {
				t.Errorf("save %d: %v", i, err)
			}
		}
	})
}

func TestSavesOfOneBlueprintTogetherKeepTheirOrder(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, newConfig configFor) {
		library := openTest(t, newConfig(t.TempDir()))
		const saves = maxTogether + 10
		library.catalogue.writer <- struct{}{}
		var group sync.WaitGroup
		for i := range saves {
			group.Go(func() { save(t, library, "BP001", fmt.Sprint("kernel ", i)) })
		}
		awaitParts(t, library, saves)
		<-library.catalogue.writer
		group.Wait()
		record, err := library.Get(context.Background(), "BP001")
		if err != nil || len(record.PrewarmSamples) != keptSamples {
			t.Errorf("%+v, %v", record, err)
		}
		wantReady(t, ask(t, NewPrefetcher(library, PrefetchConfig{}), "BP001"), record.Checksum)
	})
}

func TestSavesFailWhenTheDatabaseIsGone(t *testing.T) {
	library := openTest(t, testConfig(t.TempDir()))
	library.catalogue.writer <- struct{}{}
	var group sync.WaitGroup
	for i := range 5 {
		group.Go(func() {
			_, err := library.Save(context.Background(), descriptor("BP001"), fmt.Append(nil, i), nil, nil)
			if !errors.Is(err, ErrUnavailable) {
				t.Error(err)
			}
		})
	}
	awaitParts(t, library, 5)
	if err := library.catalogue.db.Close(); err != nil {
		t.Fatal(err)
	}
	<-library.catalogue.writer
	group.Wait()
}
