package urza

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/esper-lite/weatherlight/internal/s3test"
	"github.com/esper-lite/weatherlight/leyline"
)

func hotSet(b *testing.B, library *Library) []*leyline.KernelPrefetchRequest {
	b.Helper()
	requests := make([]*leyline.KernelPrefetchRequest, 50)
	for i := range requests {
		id := fmt.Sprintf("BP%03d", i+1)
		settledFile(b, save(b, library, id, "kernel "+id).GetArtifactRef())
		requests[i] = &leyline.KernelPrefetchRequest{RequestId: "prefetch-" + id, BlueprintId: id}
	}
	return requests
}

// answerHot measures hot requests, as many at a time as there are cores.
func answerHot(b *testing.B, library *Library, requests []*leyline.KernelPrefetchRequest) {
	b.Helper()
	prefetcher := NewPrefetcher(library, PrefetchConfig{})
	for _, request := range requests {
		if _, _, err := prefetcher.Answer(context.Background(), request, nil); err != nil {
			b.Fatal(err)
		}
	}
	var started atomic.Int64
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for i := int(started.Add(7)); pb.Next(); i++ {
			answer, _, err := prefetcher.Answer(context.Background(), requests[i%len(requests)], nil)
			if _, ready := answer.(*leyline.KernelArtifactReady); !ready || err != nil {
				b.Error(answer, err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "answers/s")
}

// The rate must not depend on the size of the catalogue, nor on the database.
func BenchmarkAnswer(b *testing.B) {
	for _, database := range databases {
		for _, rows := range []int{0, 100_000} {
			b.Run(fmt.Sprintf("%s/hot=50/others=%d", database.name, rows), func(b *testing.B) {
				cfg := database.config(b)(b.TempDir())
				cfg.Revalidate = 0 // the default
				library := openTest(b, cfg)
				fillRows(b, library, rows)
				answerHot(b, library, hotSet(b, library))
			})
		}
	}
}

// Nor on the size of the artifact: a hot request reads none.
func BenchmarkAnswerLargeArtifact(b *testing.B) {
	for _, size := range []int{1 << 10, 100 << 20} {
		b.Run(fmt.Sprintf("bytes=%d", size), func(b *testing.B) {
			cfg := testConfig(b.TempDir())
			cfg.Revalidate = 0
			library := openTest(b, cfg)
			saved, err := library.Save(context.Background(), descriptor("BP001"), bytes.Repeat([]byte("x"), size),
				&leyline.KernelCatalogUpdate{ArtifactRef: "large.pt"}, nil) // no kernel of ours is as large
			if err != nil {
				b.Fatal(err)
			}
			settledFile(b, saved.GetArtifactRef())
			answerHot(b, library, []*leyline.KernelPrefetchRequest{{RequestId: "r", BlueprintId: "BP001"}})
		})
	}
}

func BenchmarkAnswerFromObjectStore(b *testing.B) {
	cfg := objectConfig(s3test.Start(b), testConfig(b.TempDir()))
	cfg.Revalidate, cfg.ObjectTrust = 0, 0
	library := openTest(b, cfg)
	save(b, library, "BP001", "kernel")
	answerHot(b, library, []*leyline.KernelPrefetchRequest{{RequestId: "r", BlueprintId: "BP001"}})
}

// Each save is on the disk when it returns, row and artifact of 26 kB.
func BenchmarkSave(b *testing.B) {
	for _, savers := range []int{1, 2, 8} {
		b.Run(fmt.Sprintf("savers=%d", savers), func(b *testing.B) {
			library := openTest(b, testConfig(b.TempDir()))
			var next atomic.Int64
			b.ResetTimer()
			var group sync.WaitGroup
			for range savers {
				group.Go(func() {
					for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
						content := fmt.Appendf(make([]byte, 26<<10), "kernel %d", i)
						_, err := library.Save(context.Background(), descriptor(fmt.Sprintf("BP%03d", i%50)), content, nil, nil)
						if err != nil {
							b.Error(err)
						}
					}
				})
			}
			group.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "saves/s")
		})
	}
}

func BenchmarkOpen(b *testing.B) {
	for b.Loop() {
		library, err := Open(context.Background(), testConfig(b.TempDir()))
		if err != nil {
			b.Fatal(err)
		}
		if err := library.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
