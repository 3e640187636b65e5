package urza

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/urza/internal/artifact"
	"github.com/esper-lite/weatherlight/urza/internal/catalogue"
)

// What the children of these tests are told by.
const (
	killFolder   = "URZA_TEST_KILL_FOLDER"
	killDatabase = "URZA_TEST_KILL_DATABASE"
	killStep     = "URZA_TEST_KILL_STEP"
	killScrub    = "URZA_TEST_KILL_SCRUB"
)

// killConfig is the library of a child, if this process is one.
func killConfig() (Config, bool) {
	dir := os.Getenv(killFolder)
	cfg := testConfig(dir)
	cfg.DatabaseURL = os.Getenv(killDatabase)
	return cfg, dir != ""
}

// child runs the calling test again in a process of its own.
func child(t *testing.T, dir string, cfg Config, environment ...string) *exec.Cmd {
	t.Helper()
	command := exec.Command(os.Args[0], "-test.run=^"+strings.Split(t.Name(), "/")[0]+"$")
	command.Env = append(os.Environ(), killFolder+"="+dir, killDatabase+"="+cfg.DatabaseURL)
	command.Env = append(command.Env, environment...)
	return command
}

// wantKilled fails when the child came to any other end.
func wantKilled(t *testing.T, command *exec.Cmd, err error) {
	t.Helper()
	if err == nil || command.ProcessState.ExitCode() != -1 {
		t.Fatalf("child was not killed: %v", err)
	}
}

// killingDisk ends its process for good at its n-th operation, half way through
// when that is a write.
type killingDisk struct{ crashingDisk }

func newKillingDisk(left int) *killingDisk {
	return &killingDisk{crashingDisk{left: left, crash: func() {
		_ = unix.Kill(os.Getpid(), unix.SIGKILL)
		select {} // until the signal has come
	}}}
}

// stepChild saves, or scrubs what is damaged, on a disk that kills it.
func stepChild(t *testing.T, cfg Config) {
	step, err := strconv.Atoi(os.Getenv(killStep))
	if err != nil {
		t.Fatal(err)
	}
	library, err := open(context.Background(), cfg, newKillingDisk(step))
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv(killScrub) == "" {
		save(t, library, "BP001", "new kernel")
	} else if _, err := library.Scrub(context.Background(), 0); err != nil {
		t.Fatal(err)
	}
	fmt.Println("survived")
	_ = unix.Kill(os.Getpid(), unix.SIGKILL) // after the last step
	select {}
}

func TestKilledAtEachStepOfASave(t *testing.T) {
	if cfg, isChild := killConfig(); isChild {
		stepChild(t, cfg)
	}
	const steps = 7 // create, write, sync, close, rename, sync folder, look inside the transaction
	onEachDatabase(t, func(t *testing.T, newConfig configFor) {
		for step := range steps + 1 {
			dir := t.TempDir()
			cfg := newConfig(dir)
			old := save(t, openTest(t, cfg), "BP001", "old kernel")
			command := child(t, dir, cfg, killStep+"="+strconv.Itoa(step))
			out, err := command.Output()
			wantKilled(t, command, err)
			survived := strings.Contains(string(out), "survived")
			if survived != (step == steps) {
				t.Fatalf("step %d: child says %q", step, out)
			}
			want := old.GetChecksum()
			if survived {
				want = artifact.Checksum([]byte("new kernel"))
			}
			wantReady(t, ask(t, NewPrefetcher(openTest(t, cfg), PrefetchConfig{}), "BP001"), want)
		}
	})
}

func TestKilledAtEachStepOfAScrub(t *testing.T) {
	if cfg, isChild := killConfig(); isChild {
		stepChild(t, cfg)
	}
	const steps = 7 // look at both twice, once more in the transaction, move
	onEachDatabase(t, func(t *testing.T, newConfig configFor) {
		for step := range steps {
			dir := t.TempDir()
			cfg := newConfig(dir)
			first := openTest(t, cfg)
			sound := save(t, first, "BP001", "sound")
			flipBit(t, save(t, first, "BP002", "damaged").GetArtifactRef())
			command := child(t, dir, cfg, killStep+"="+strconv.Itoa(step), killScrub+"=1")
			_, err := command.Output()
			wantKilled(t, command, err)

			library := openTest(t, cfg)
			prefetcher := NewPrefetcher(library, PrefetchConfig{})
			wantReady(t, ask(t, prefetcher, "BP001"), sound.GetChecksum())
			checkVictim(t, prefetcher, "BP002")
			records, err := library.List(context.Background())
			if err != nil || len(records) != 2 {
				t.Errorf("step %d: %d rows, %v", step, len(records), err)
			}
			save(t, library, "BP002", "damaged")
			wantReady(t, ask(t, prefetcher, "BP002"), artifact.Checksum([]byte("damaged")))
		}
	})
}

// checkVictim asks for a kernel that may have been damaged: it is refused, or what
// is announced is what the file holds.
func checkVictim(t *testing.T, prefetcher *Prefetcher, id string) {
	t.Helper()
	switch answer := ask(t, prefetcher, id).(type) {
	case *leyline.KernelArtifactReady:
		checkServed(t, answer)
	case *leyline.KernelArtifactError:
		// Killed between the move and its commit, the file is gone without a mark.
		if reason := answer.GetReason(); reason != "checksum_mismatch" && reason != "artifact_not_found" {
			t.Errorf("%s refused with %s", id, reason)
		}
	}
}

// workForever is the child of TestRandomKills. It saves sound kernels and prints
// what it is about to save and what Save acknowledged; beside that it saves, damages
// and scrubs victims, and has variants forged.
func workForever(t *testing.T, cfg Config) {
	fmt.Println("up")
	library := openTest(t, cfg)
	go func() {
		for i := 0; ; i++ {
			saved := save(t, library, fmt.Sprintf("V%d", i%3), fmt.Sprint("victim", os.Getpid(), i))
			flipBit(t, saved.GetArtifactRef())
			if _, err := library.Scrub(context.Background(), 1<<30); err != nil {
				t.Error(err)
			}
			fmt.Println("scrubbed", saved.GetBlueprintId(), saved.GetChecksum())
		}
	}()
	go func() {
		prefetcher := forging(library, &testForge{})
		for i := os.Getpid(); ; i++ {
			wantVariant(t, prefetcher, "BP000", variantOf(i%(ownSize-1)+1)) // of the library's own shape it is no variant
		}
	}()
	for i := 0; ; i++ {
		id := fmt.Sprintf("BP%03d", i%5)
		text := strings.Repeat(fmt.Sprint(id, os.Getpid(), i), 2000)
		fmt.Println("try", id, artifact.Checksum([]byte(text)))
		save(t, library, id, text)
		fmt.Println("saved", id, artifact.Checksum([]byte(text)))
	}
}

// progress is what the children of one library said.
type progress struct {
	saved map[string]string          // the last acknowledged checksum of each blueprint
	tried map[string]map[string]bool // those begun since

	saves, scrubs int
}

func (p *progress) read(line string) {
	var word, id, sum string
	if n, _ := fmt.Sscan(line, &word, &id, &sum); n != 3 {
		return
	}
	if p.tried[id] == nil {
		p.tried[id] = map[string]bool{}
	}
	switch word {
	case "try":
		p.tried[id][sum] = true
	case "saved":
		p.saves++
		p.saved[id] = sum
		clear(p.tried[id])
	case "scrubbed":
		p.scrubs++
	}
}

// killAfter lets a child work for a while, counted from its first work.
func killAfter(t *testing.T, delay time.Duration, dir string, cfg Config, seen *progress) {
	t.Helper()
	command := child(t, dir, cfg)
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		if lines.Text() == "up" {
			defer time.AfterFunc(delay, func() { _ = command.Process.Kill() }).Stop()
			continue
		}
		seen.read(lines.Text())
	}
	wantKilled(t, command, command.Wait())
}

// longestLife bounds how long a child works before it is killed.
const longestLife = 200 * time.Millisecond

func TestRandomKills(t *testing.T) {
	if cfg, isChild := killConfig(); isChild {
		workForever(t, cfg)
	}
	onEachDatabase(t, func(t *testing.T, newConfig configFor) {
		dir := t.TempDir()
		cfg := newConfig(dir)
		rng := rand.New(rand.NewPCG(random.seed, 0))
		seen := &progress{saved: map[string]string{}, tried: map[string]map[string]bool{}}
		for range random.kills {
			killAfter(t, time.Duration(rng.Int64N(int64(longestLife))), dir, cfg, seen)
			checkAfterKill(t, cfg, seen)
			if t.Failed() {
				t.Fatalf("after a kill, with -seed %d", random.seed)
			}
		}
		// Where a child dies soon after its start, more of them may be needed.
		for more := 0; (seen.saves == 0 || seen.scrubs == 0) && more < 10; more++ {
			killAfter(t, time.Second<<more, dir, cfg, seen)
			checkAfterKill(t, cfg, seen)
		}
		fmt.Printf("RESULT kills part=urza database=%s kills=%d saves=%d scrubs=%d lost=0 seed=%d\n",
			path.Base(t.Name()), random.kills, seen.saves, seen.scrubs, random.seed)
		if seen.saves == 0 || seen.scrubs == 0 {
			t.Error("the children hardly worked")
		}
	})
}

func checkAfterKill(t *testing.T, cfg Config, seen *progress) {
	t.Helper()
	library, err := Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer library.Close()
	awaitOrphans(t, library)
	prefetcher := NewPrefetcher(library, PrefetchConfig{})
	records, err := library.List(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, record := range records {
		id := record.Descriptor.GetBlueprintId()
		found[id] = true
		if strings.HasPrefix(id, "V") {
			checkVictim(t, prefetcher, id)
			continue
		}
		if record.Checksum != seen.saved[id] && !seen.tried[id][record.Checksum] {
			t.Errorf("%s is %s, acknowledged was %s", id, record.Checksum, seen.saved[id])
		}
		checkServed(t, wantReady(t, ask(t, prefetcher, id), record.Checksum))
	}
	for id := range seen.saved {
		if !found[id] {
			t.Errorf("row of %s is lost", id)
		}
	}
	checkVariants(t, library)
}

// ownSize is the shape of the library's own kernels.
const ownSize = 32

// checkVariants wants the artifact of each variant whose row is there.
func checkVariants(t *testing.T, library *Library) {
	t.Helper()
	records, err := library.Variants(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	stored := NewPrefetcher(library, PrefetchConfig{Slot: []int{ownSize}})
	for _, record := range records {
		size, err := strconv.Atoi(record.Variant)
		if err != nil {
			t.Fatal(err)
		}
		checkServed(t, wantVariant(t, stored, record.Descriptor.GetBlueprintId(), variantOf(size)))
	}
}

// awaitOrphans waits for the transaction that a killed child had sent to its end: the
// server still commits it, with the lock of those who write.
func awaitOrphans(t *testing.T, library *Library) {
	t.Helper()
	if _, err := library.catalogue.Used(context.Background(), catalogue.Key{}); err != nil {
		t.Fatal(err)
	}
}
