package urza

import (
	"context"
	"fmt"
	"strings"
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

// answerHot measures hot requests, as many at a time as there are cores.
func answerHot(b *testing.B, library *Library, requests []*leyline.KernelPrefetchRequest) {
	b.Helper()
	prefetcher := NewPrefetcher(library)
	if _, err := prefetcher.Warm(context.Background()); err != nil {
		b.Fatal(err)
	}
	var started atomic.Int64
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for i := int(started.Add(7)); pb.Next(); i++ {
			answer, err := prefetcher.Answer(context.Background(), requests[i%len(requests)])
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
			settledFile(b, save(b, library, "BP001", strings.Repeat("x", size)).GetArtifactRef())
			answerHot(b, library, []*leyline.KernelPrefetchRequest{{RequestId: "r", BlueprintId: "BP001"}})
		})
	}
}

func BenchmarkAnswerFromObjectStore(b *testing.B) {
	cfg := startObjectServer(b).configure(testConfig(b.TempDir()))
	cfg.Revalidate, cfg.ObjectTrust = 0, 0
	library := openTest(b, cfg)
	save(b, library, "BP001", "kernel")
	answerHot(b, library, []*leyline.KernelPrefetchRequest{{RequestId: "r", BlueprintId: "BP001"}})
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
