package urza

import (
	"context"
	"errors"
	"testing"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/urza/internal/artifact"
)

func TestSetAsideKernelIsNotServedUntilReleased(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, newConfig configFor) {
		ctx := context.Background()
		cfg := newConfig(t.TempDir())
		operator, library := openTest(t, cfg), openTest(t, cfg)
		prefetcher := NewPrefetcher(library, PrefetchConfig{})
		saved := save(t, library, "BP001", "kernel")
		wantReady(t, ask(t, prefetcher, "BP001"), saved.GetChecksum())

		if err := operator.SetAside(ctx, "BP001", "diverges"); err != nil {
			t.Fatal(err)
		}
		wantRefused(t, ask(t, prefetcher, "BP001"), "missing_artifact")
		if !has(t, library, "BP001") {
			t.Error("the forge would compile it again")
		}
		save(t, library, "BP001", "another kernel")
		wantRefused(t, ask(t, prefetcher, "BP001"), "missing_artifact")
		record, err := library.Get(ctx, "BP001")
		if err != nil || !record.SetAside {
			t.Errorf("%+v, %v", record, err)
		}

		if err := operator.Release(ctx, "BP001"); err != nil {
			t.Fatal(err)
		}
		wantReady(t, ask(t, prefetcher, "BP001"), artifact.Checksum([]byte("another kernel")))
	})
}

func TestDamageOfASetAsideKernelIsStillSaid(t *testing.T) {
	ctx := context.Background()
	library := openTest(t, testConfig(t.TempDir()))
	saved := save(t, library, "BP001", "kernel")
	if err := library.SetAside(ctx, "BP001", ""); err != nil {
		t.Fatal(err)
	}
	if err := library.Verify(ctx, "BP001"); err != nil {
		t.Errorf("verify a sound one: %v", err)
	}
	flipBit(t, saved.GetArtifactRef())
	if err := library.Verify(ctx, "BP001"); !errors.Is(err, ErrChecksumMismatch) {
		t.Error(err)
	}
}

func TestApprovalIsOfOneArtifact(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, newConfig configFor) {
		ctx := context.Background()
		cfg := newConfig(t.TempDir())
		cfg.RequireApproval = true
		library := openTest(t, cfg)
		prefetcher := NewPrefetcher(library, PrefetchConfig{})
		risky := descriptor("BP001")
		risky.ApprovalRequired = true
		saved, err := library.Save(ctx, risky, []byte("kernel"), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		wantRefused(t, ask(t, prefetcher, "BP001"), "missing_artifact")
		save(t, library, "BP002", "asks for nothing")
		wantReady(t, ask(t, prefetcher, "BP002"), artifact.Checksum([]byte("asks for nothing")))

		if err := library.Approve(ctx, "BP001"); err != nil {
			t.Fatal(err)
		}
		wantReady(t, ask(t, prefetcher, "BP001"), saved.GetChecksum())
		if err := library.SetAside(ctx, "BP001", "later"); err != nil { // leaves the approval alone
			t.Fatal(err)
		}
		if err := library.Release(ctx, "BP001"); err != nil {
			t.Fatal(err)
		}
		record, err := library.Get(ctx, "BP001")
		if err != nil || !record.Approved || record.SetAside {
			t.Errorf("%+v, %v", record, err)
		}
		if _, err := library.Save(ctx, risky, []byte("changed"), nil, nil); err != nil {
			t.Fatal(err)
		}
		wantRefused(t, ask(t, prefetcher, "BP001"), "missing_artifact")
	})
}

func TestReviewsNeedAKernel(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, newConfig configFor) {
		ctx := context.Background()
		library := openTest(t, newConfig(t.TempDir()))
		for _, id := range []string{"BP404", "", "BP\x00", "BP\xff"} {
			for _, err := range []error{
				library.Approve(ctx, id), library.SetAside(ctx, id, "reason"), library.Release(ctx, id),
			} {
				if !errors.Is(err, ErrNotFound) {
					t.Errorf("%q: %v", id, err)
				}
			}
		}
		if state := library.Stats().Queries.Circuit; state != 1 {
			t.Errorf("odd names opened the breaker: %v", state)
		}
		saved := save(t, library, "BP001", "kernel")
		flipBit(t, saved.GetArtifactRef())
		if err := library.Approve(ctx, "BP001"); !errors.Is(err, ErrChecksumMismatch) {
			t.Errorf("approved a damaged kernel: %v", err)
		}
	})
}

func TestKernelThatIsNotPermittedIsNotServed(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, newConfig configFor) {
		dir := t.TempDir()
		cfg := newConfig(dir)
		forbidden := errors.New("quarantine only")
		cfg.Permit = func(d *leyline.BlueprintDescriptor, approved bool) error {
			if d.GetBlueprintId() == "BP043" && !approved {
				return forbidden
			}
			return nil
		}
		library := openTest(t, cfg)
		sound := save(t, library, "BP001", "sound")
		adversarial := save(t, library, "BP043", "adversarial")
		prefetcher := NewPrefetcher(library, PrefetchConfig{})
		for range 2 { // from the database, and from memory
			wantReady(t, ask(t, prefetcher, "BP001"), sound.GetChecksum())
			wantRefused(t, ask(t, prefetcher, "BP043"), "missing_artifact")
		}
		record, err := library.Get(context.Background(), "BP043")
		if err != nil {
			t.Fatal(err)
		}
		if err := library.Withheld(record); !errors.Is(err, ErrWithheld) || !errors.Is(err, forbidden) {
			t.Errorf("withheld because of %v", err)
		}
		if !has(t, library, "BP043") {
			t.Error("the forge would compile it again and again")
		}
		if err := library.Approve(context.Background(), "BP043"); err != nil {
			t.Fatal(err)
		}
		wantReady(t, ask(t, prefetcher, "BP043"), adversarial.GetChecksum())
	})
}
