package urza

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/trainer"
	"github.com/esper-lite/weatherlight/urza/internal/catalogue"
)

func variantOf(sizes ...int) trainer.Variant { return trainer.Variant{Slot: sizes} }

func TestDamagedVariantIsSetAsideAndForgedAnew(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, config configFor) {
		ctx := context.Background()
		dir := t.TempDir()
		library := openTest(t, config(dir))
		prefetcher := forging(library, &testForge{})
		ready := wantVariant(t, prefetcher, "BP001", variantOf(7))

		flipBit(t, ready.GetArtifactRef())
		answer, _ := askFor(t, NewPrefetcher(library, PrefetchConfig{}), "BP001", slotOf(7)) // nothing forges
		wantRefused(t, answer, "checksum_mismatch")
		if _, _, err := library.OpenChecksum(ctx, ready.GetChecksum()); !errors.Is(err, ErrChecksumMismatch) {
			t.Errorf("opened although damaged: %v", err)
		}
		evidence, err := os.ReadDir(filepath.Join(dir, "artifacts", "quarantine"))
		if err != nil || len(evidence) != 1 {
			t.Errorf("evidence: %v, %v", evidence, err)
		}
		report, err := library.Maintain(ctx)
		if err != nil || strings.Join(report.Quarantined, " ") != "BP001 (7)" || report.Rows != 1 {
			t.Errorf("maintenance: %+v, %v", report, err)
		}
		wantVariant(t, prefetcher, "BP001", variantOf(7))
		if report, err = library.Maintain(ctx); err != nil || len(report.Quarantined) != 0 {
			t.Errorf("not healed: %+v, %v", report, err)
		}
	})
}

func TestScrubReadsVariants(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, config configFor) {
		ctx := context.Background()
		library := openTest(t, config(t.TempDir()))
		prefetcher := forging(library, &testForge{})
		sound := wantVariant(t, prefetcher, "BP001", variantOf(7))
		flipBit(t, wantVariant(t, prefetcher, "BP001", variantOf(8)).GetArtifactRef())
		if err := os.Remove(wantVariant(t, prefetcher, "BP001", variantOf(9)).GetArtifactRef()); err != nil {
			t.Fatal(err)
		}
		found, err := library.Scrub(ctx, 0)
		if err != nil || found.Checked != 1 || found.Corrupt != 1 || found.Missing != 1 {
			t.Errorf("%+v, %v", found, err)
		}
		wantReady(t, mustAnswer(t, prefetcher, 7), sound.GetChecksum())
		for _, size := range []int{8, 9} {
			wantVariant(t, prefetcher, "BP001", variantOf(size))
		}
		if found, err = library.Scrub(ctx, 0); err != nil || found.Checked != 3 {
			t.Errorf("%+v, %v", found, err)
		}
	})
}

func mustAnswer(t *testing.T, prefetcher *Prefetcher, size int) proto.Message {
	t.Helper()
	answer, _ := askFor(t, prefetcher, "BP001", slotOf(size))
	return answer
}

// lastUsed makes a variant of BP001 look as if it had been used so long ago.
func lastUsed(t *testing.T, library *Library, size int, ago time.Duration) {
	t.Helper()
	mustExec(t, library, `UPDATE urza_variants SET used_at = $1 WHERE variant = $2`,
		time.Now().Add(-ago).UnixMilli(), strconv.Itoa(size))
}

func storedSizes(t *testing.T, library *Library) string {
	t.Helper()
	records, err := library.Variants(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	var sizes []string
	for _, record := range records {
		sizes = append(sizes, record.Descriptor.GetBlueprintId()+":"+record.Variant)
	}
	return strings.Join(sizes, " ")
}

func TestUnusedVariantsMakeRoom(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, config configFor) {
		ctx := context.Background()
		cfg := config(t.TempDir())
		cfg.MaxVariants = 3
		library, forge := openTest(t, cfg), &testForge{}
		prefetcher := forging(library, forge)
		wantVariant(t, prefetcher, "BP002", variantOf(1)) // of another blueprint: not in the way
		gone := wantVariant(t, prefetcher, "BP001", variantOf(1))
		for size := 2; size <= 3; size++ {
			wantVariant(t, prefetcher, "BP001", variantOf(size))
		}
		// All of them are in use.
		wantRefused(t, mustAnswer(t, prefetcher, 4), "too_many_variants")
		lastUsed(t, library, 2, time.Hour)
		wantRefused(t, mustAnswer(t, prefetcher, 4), "too_many_variants")

		lastUsed(t, library, 1, 3*time.Hour)
		lastUsed(t, library, 2, 2*time.Hour)
		wantVariant(t, prefetcher, "BP001", variantOf(4))
		if got := storedSizes(t, library); got != "BP001:2 BP001:3 BP001:4 BP002:1" {
			t.Errorf("stored: %s", got)
		}
		// Its file stays for a while, for those who were told of it.
		if n, err := library.Prune(ctx); n != 0 || err != nil {
			t.Errorf("pruned %d, %v", n, err)
		}
		mustExec(t, library, `UPDATE urza_evicted SET evicted_at = $1`, time.Now().Add(-25*time.Hour).UnixMilli())
		if n, err := library.Prune(ctx); n != 1 || err != nil {
			t.Errorf("pruned %d, %v", n, err)
		}
		if _, err := os.Stat(gone.GetArtifactRef()); !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
		lastUsed(t, library, 2, 2*time.Hour)
		wantVariant(t, prefetcher, "BP001", variantOf(1)) // and comes again when it is wanted
		if got := storedSizes(t, library); got != "BP001:1 BP001:3 BP001:4 BP002:1" {
			t.Errorf("stored: %s", got)
		}
	})
}

func TestEvictedFileThatIsInUseAgainStays(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.MaxVariants = 1
	library := openTest(t, cfg)
	prefetcher := forging(library, &testForge{})
	for _, size := range []int{1, 2, 1} {
		wantVariant(t, prefetcher, "BP001", variantOf(size))
		lastUsed(t, library, size, 2*time.Hour)
	}
	mustExec(t, library, `UPDATE urza_evicted SET evicted_at = 0`)
	if n, err := library.Prune(context.Background()); n != 1 || err != nil {
		t.Errorf("pruned %d, %v", n, err)
	}
	wantVariant(t, NewPrefetcher(library, PrefetchConfig{Slot: []int{32}}), "BP001", variantOf(1))
}

func TestRetentionKeepsTheFilesOfVariants(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.Retention = time.Nanosecond
	library := openTest(t, cfg)
	prefetcher := forging(library, &testForge{})
	wantVariant(t, prefetcher, "BP001", variantOf(1))
	for range 3 {
		if n, err := library.Prune(context.Background()); n != 0 || err != nil {
			t.Errorf("pruned %d, %v", n, err)
		}
	}
}

// A variant that was evicted by another process while this one remembers it is made
// again, rather than announced without a row.
func TestVariantThatIsUsedKeepsItsPlace(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, config configFor) {
		cfg := config(t.TempDir())
		cfg.Revalidate = time.Hour // remembers, whatever others do
		library, forge := openTest(t, cfg), &testForge{}
		prefetcher := forging(library, forge)
		wantVariant(t, prefetcher, "BP001", variantOf(7))
		e, err := library.lookup.entry(context.Background(), catalogue.Key{ID: "BP001", Variant: "7"})
		if err != nil {
			t.Fatal(err)
		}
		lastUsed(t, library, 7, 3*time.Hour)
		e.touched.Store(0)
		wantVariant(t, prefetcher, "BP001", variantOf(7))
		var used int64
		mustScan(t, library, &used, `SELECT used_at FROM urza_variants`)
		if time.Since(time.UnixMilli(used)) > time.Minute {
			t.Errorf("used %s", time.UnixMilli(used))
		}
		mustExec(t, library, `DELETE FROM urza_variants`)
		e.touched.Store(0)
		wantVariant(t, prefetcher, "BP001", variantOf(7))
		if forge.made.Load() != 2 {
			t.Errorf("forged %d times", forge.made.Load())
		}
	})
}

func TestKilledAtEachStepOfAForging(t *testing.T) {
	if cfg, isChild := killConfig(); isChild {
		step, err := strconv.Atoi(os.Getenv(killStep))
		if err != nil {
			t.Fatal(err)
		}
		library, err := open(context.Background(), cfg, newKillingDisk(step))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = askFor(t, forging(library, &testForge{}), "BP001", slotOf(7))
		t.Fatal("survived")
	}
	const steps = 7 // create, write, sync, close, name, sync folder, look inside the transaction
	onEachDatabase(t, func(t *testing.T, newConfig configFor) {
		for step := range steps {
			dir := t.TempDir()
			cfg := newConfig(dir)
			first := openTest(t, cfg)
			own := save(t, first, "BP001", "own kernel")
			before := wantVariant(t, forging(first, &testForge{}), "BP001", variantOf(8))
			command := child(t, dir, cfg, killStep+"="+strconv.Itoa(step))
			_, err := command.Output()
			wantKilled(t, command, err)

			library := openTest(t, cfg)
			awaitOrphans(t, library)
			if got := storedSizes(t, library); got != "BP001:8" {
				t.Errorf("step %d: stored %s", step, got)
			}
			forge := &testForge{}
			prefetcher := forging(library, forge)
			wantVariant(t, prefetcher, "BP001", variantOf(7))
			wantReady(t, mustAnswer(t, prefetcher, 8), before.GetChecksum())
			wantReady(t, ask(t, prefetcher, "BP001"), own.GetChecksum())
			if forge.made.Load() != 1 {
				t.Errorf("step %d: forged %d times", step, forge.made.Load())
			}
		}
	})
}

// A catalogue of the release before, which has no variants yet.
func TestCatalogueWithoutVariantsIsBroughtUpToDate(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, config configFor) {
		cfg := config(t.TempDir())
		old := openTest(t, cfg)
		own := save(t, old, "BP001", "own kernel")
		for _, statement := range []string{
			`DROP TABLE urza_variants`, `DROP TABLE urza_evicted`,
			`DELETE FROM urza_schema_version WHERE version_id IN (5, 6, 1002)`,
		} {
			mustExec(t, old, statement)
		}
		library := openTest(t, cfg)
		prefetcher := forging(library, &testForge{})
		wantReady(t, ask(t, prefetcher, "BP001"), own.GetChecksum())
		wantVariant(t, prefetcher, "BP001", variantOf(7))
	})
}

// A slot that happens to be the library's own is no reason to leave a trainer without
// its kernel; a request that names nothing gets the library's own or none.
func TestLostKernelOfTheOwnSlotIsForgedForWhoeverNamesIt(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, config configFor) {
		for reason, lose := range map[string]func(t testing.TB, ref string){
			"checksum_mismatch": flipBit,
			"artifact_not_found": func(t testing.TB, ref string) {
				if err := os.Remove(ref); err != nil {
					t.Fatal(err)
				}
			},
		} {
			t.Run(reason, func(t *testing.T) {
				library, forge := openTest(t, config(t.TempDir())), &testForge{}
				prefetcher := forging(library, forge)
				lose(t, save(t, library, "BP001", "own kernel").GetArtifactRef())
				wantRefused(t, ask(t, prefetcher, "BP001"), reason)
				for _, c := range []struct {
					prefetcher *Prefetcher
					attributes map[string]string
				}{
					{NewPrefetcher(library, PrefetchConfig{Slot: []int{32}}), slotOf(32)}, // nothing forges
					{prefetcher, map[string]string{"slot": "[32]", "format": "pt"}},       // nobody forges that
					{prefetcher, map[string]string{"format": "onnx"}},                     // names no slot
				} {
					answer, _ := askFor(t, c.prefetcher, "BP001", c.attributes)
					wantRefused(t, answer, reason)
				}
				wantVariant(t, prefetcher, "BP001", variantOf(32))
				wantVariant(t, prefetcher, "BP001", trainer.Variant{Parameters: map[string]float64{"scale": 1.25}})
				wantRefused(t, ask(t, prefetcher, "BP001"), reason)
				if made := forge.made.Load(); made != 2 {
					t.Errorf("%d kernels forged, want 2", made)
				}
			})
		}
	})
}

func TestNotingAUseDoesNotDisturbOthers(t *testing.T) {
	cfg := postgresConfigFor(t)(t.TempDir())
	library := openTest(t, cfg)
	wantVariant(t, forging(library, &testForge{}), "BP001", variantOf(7))
	number := func() (n int) {
		t.Helper()
		mustScan(t, library, &n, `SELECT number FROM urza_generation`)
		return n
	}
	before := number()
	lastUsed(t, library, 7, time.Hour)
	if after := number(); after != before {
		t.Error("every process reads its rows again because a variant was used")
	}
	mustExec(t, library, `UPDATE urza_variants SET quarantined_at = 'now'`)
	if after := number(); after == before {
		t.Error("nobody hears of a damaged variant")
	}
}

func TestVariantsOfAClosedLibrary(t *testing.T) {
	library, err := Open(context.Background(), testConfig(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	if err := library.Close(); err != nil {
		t.Fatal(err)
	}
	_, listed := library.Variants(context.Background())
	_, _, opened := library.OpenChecksum(context.Background(), strings.Repeat("0", 64))
	_, saved := library.SaveVariant(context.Background(), variantOf(1), Forged{Descriptor: descriptor("BP001"), Artifact: []byte("x")})
	for _, err := range []error{listed, opened, saved} {
		if !errors.Is(err, ErrUnavailable) || errors.Is(err, sql.ErrConnDone) {
			t.Error(err)
		}
	}
}

func TestVariantWithoutANameIsNotSaved(t *testing.T) {
	library := openTest(t, testConfig(t.TempDir()))
	for _, variant := range []trainer.Variant{{}, {Parameters: map[string]float64{"a\x00": 1}}} {
		forged := Forged{Descriptor: descriptor("BP001"), Artifact: []byte("x")}
		if _, err := library.SaveVariant(context.Background(), variant, forged); err == nil {
			t.Error(fmt.Sprint(variant))
		}
	}
}
