package urza

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

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

func BenchmarkAnswer(b *testing.B) {
	for _, rows := range []int{0, 100_000} {
		b.Run(fmt.Sprintf("hot=50/others=%d", rows), func(b *testing.B) {
			cfg := testConfig(b.TempDir())
			cfg.Revalidate = 0 // the default
			library := openTest(b, cfg)
			fillRows(b, library, rows)
			prefetcher := NewPrefetcher(library)
			requests := hotSet(b, library)
			var started atomic.Int64
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for i := int(started.Add(7)); pb.Next(); i++ {
					answer, err := prefetcher.Answer(context.Background(), requests[i%50])
					if _, ready := answer.(*leyline.KernelArtifactReady); !ready || err != nil {
						b.Error(answer, err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "answers/s")
		})
	}
}

func BenchmarkSave(b *testing.B) {
	for _, savers := range []int{1, 8} {
		b.Run(fmt.Sprintf("savers=%d", savers), func(b *testing.B) {
			library := openTest(b, testConfig(b.TempDir()))
			var next atomic.Int64
			b.SetParallelism(savers)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					id := fmt.Sprintf("BP%03d", next.Add(1)%50)
					content := append(make([]byte, 64<<10), id...)
					if _, err := library.Save(context.Background(), descriptor(id), content, nil, nil); err != nil {
						b.Error(err)
						return
					}
				}
			})
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
