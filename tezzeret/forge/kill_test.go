package forge_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tezzeret/forge"
)

// What this test binary is told by when it is started by itself to be killed: the
// folder to forge in, and the step that it dies at, when that is not left to chance.
const (
	killedForge = "TEZZERET_KILLED_FORGE"
	killedStep  = "TEZZERET_KILLED_STEP"
)

// forging is what that process prints when it begins.
const forging = "forging"

// killedLibrary is a library in a folder: one file a kernel, put there at once.
type killedLibrary struct{ folder string }

// storedFile is what the folder holds of one blueprint: its build digest on
// the first line, the update on the second.
func (l killedLibrary) path(id string) string { return filepath.Join(l.folder, "kernel-"+id) }

func (l killedLibrary) stored(_ context.Context, id string) (forge.StoredKernel, bool, error) {
	text, err := os.ReadFile(l.path(id))
	if errors.Is(err, fs.ErrNotExist) {
		return forge.StoredKernel{}, false, nil
	}
	digest, update, _ := strings.Cut(string(text), "\n")
	found := forge.StoredKernel{BuildDigest: digest, Update: &leyline.KernelCatalogUpdate{}}
	return found, err == nil, errors.Join(err, protojson.Unmarshal([]byte(update), found.Update))
}

func (l killedLibrary) Has(ctx context.Context, id string) (bool, error) {
	_, ok, err := l.stored(ctx, id)
	return ok, err
}

func (l killedLibrary) Save(_ context.Context, d *leyline.BlueprintDescriptor, _ []byte,
	update *leyline.KernelCatalogUpdate, extras map[string]any) (*leyline.KernelCatalogUpdate, error) {
	linger()
	stored := proto.CloneOf(update)
	stored.ArtifactRef = l.path(d.GetBlueprintId())
	text, err := protojson.Marshal(stored)
	if err != nil {
		return nil, err
	}
	temporary := stored.GetArtifactRef() + ".tmp"
	err = os.WriteFile(temporary, fmt.Appendf(nil, "%v\n%s", extras["build_digest"], text), 0o600)
	if err == nil {
		err = os.Rename(temporary, stored.GetArtifactRef())
	}
	linger()
	return stored, err
}

// stepsLeft is how many steps the process has to live; negative is no end.
var stepsLeft atomic.Int64

// linger gives a kill a moment to fall into, or is the step to die at.
func linger() {
	if os.Getenv(killedStep) == "" {
		time.Sleep(time.Duration(rand.IntN(1500)) * time.Microsecond)
		return
	}
	if stepsLeft.Add(-1) == 0 {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // until the signal has come
	}
}

// forgedBlueprints are fewer when each step is tried.
func forgedBlueprints(stepwise bool) []*leyline.BlueprintDescriptor {
	if stepwise {
		return compilable()[:3]
	}
	return compilable()
}

// note appends one line to a file of the folder, in one write.
func (l killedLibrary) note(file, line string) error {
	log, err := os.OpenFile(filepath.Join(l.folder, file), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = log.WriteString(line + "\n")
	return errors.Join(err, log.Close())
}

// watchedCompiler notes each compilation that was needless: the library had
// the kernel already.
type watchedCompiler struct {
	forge.Compiler
	library killedLibrary
}

func (w watchedCompiler) Compile(ctx context.Context, d *leyline.BlueprintDescriptor, conservative bool) (*forge.Kernel, error) {
	found, ok, err := w.library.stored(ctx, d.GetBlueprintId())
	if err != nil {
		return nil, err
	}
	if ok && found.BuildDigest == w.BuildDigest(d) {
		if err := w.library.note("needless", d.GetBlueprintId()); err != nil {
			return nil, err
		}
	}
	linger()
	return w.Compiler.Compile(ctx, d, conservative)
}

// killedConfig is the forge of the process that is killed.
func killedConfig(folder string, announce func(context.Context, *leyline.KernelCatalogUpdate) error) forge.Config {
	library := killedLibrary{folder}
	return forge.Config{
		Compiler:    watchedCompiler{approvedCompiler(16), library},
		Blueprints:  func() []*leyline.BlueprintDescriptor { return forgedBlueprints(os.Getenv(killedStep) != "") },
		Library:     library,
		Stored:      library.stored,
		JournalPath: filepath.Join(folder, "journal"),
		ParkFor:     time.Nanosecond,
		Announce:    announce,
	}
}

// forgeUntilKilled is the body of the process that is killed.
func forgeUntilKilled(folder string) error {
	library := killedLibrary{folder}
	if text := os.Getenv(killedStep); text != "" {
		step, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return err
		}
		stepsLeft.Store(step)
	}
	fmt.Println(forging)
	announce := func(_ context.Context, update *leyline.KernelCatalogUpdate) error {
		linger()
		defer linger()
		return library.note("announced", update.GetBlueprintId()+" "+update.GetChecksum())
	}
	return forge.New(killedConfig(folder, announce)).Run(context.Background())
}

func TestKilledForgeLosesNoAnnouncementAndCompilesNothingTwiceNeedlessly(t *testing.T) {
	if folder := os.Getenv(killedForge); folder != "" {
		if err := forgeUntilKilled(folder); err != nil {
			t.Fatal(err)
		}
		return
	}
	rng := rand.New(rand.NewPCG(random.seed, 0))
	kills, rounds := 0, 0
	for ; kills < random.kills; rounds++ {
		folder := t.TempDir()
		kills += killUntilDone(t, folder, rng)
		checkForged(t, folder, compilable())
		if t.Failed() {
			t.Fatalf("after %d kills, with -seed %d", kills, random.seed)
		}
	}
	fmt.Printf("RESULT kills part=tezzeret kills=%d forges=%d lost=0 seed=%d\n", kills, rounds, random.seed)
}

// A forge dies before a compilation, and before and after each save and each
// announcement, one after the other.
func TestKilledAtEachStepOfTheForge(t *testing.T) {
	if folder := os.Getenv(killedForge); folder != "" {
		if err := forgeUntilKilled(folder); err != nil {
			t.Fatal(err)
		}
		return
	}
	const steps = 3 * 5
	for step := range steps {
		folder := t.TempDir()
		forgeInChild(t, folder, step+1, true)
		forgeInChild(t, folder, -1, false)
		checkForged(t, folder, forgedBlueprints(true))
		if t.Failed() {
			t.Fatalf("after a kill at step %d", step+1)
		}
	}
}

// forgeInChild forges in a process that lives for so many steps.
func forgeInChild(t *testing.T, folder string, step int, killed bool) {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	child.Env = append(os.Environ(), killedForge+"="+folder, killedStep+"="+strconv.Itoa(step))
	out, err := child.CombinedOutput()
	if killed == (err == nil) || killed == child.ProcessState.Exited() {
		t.Fatalf("step %d: killed %t, %v\n%s", step, killed, err, out)
	}
}

// killUntilDone starts the forge again and again, and kills it at a random
// moment, until it comes to its end. It returns the number of kills.
func killUntilDone(t *testing.T, folder string, rng *rand.Rand) (kills int) {
	t.Helper()
	for {
		child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
		child.Env = append(os.Environ(), killedForge+"="+folder)
		output, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		// Counted from its first work, and longer each time, so that a slow
		// machine comes to an end, too.
		if line, err := bufio.NewReader(output).ReadString('\n'); line != forging+"\n" {
			t.Fatalf("the forge began with %q: %v", line, err)
		}
		doom := time.AfterFunc(time.Duration(rng.IntN(60+10*kills))*time.Millisecond, func() {
			_ = child.Process.Signal(syscall.SIGKILL)
		})
		err = child.Wait()
		doom.Stop()
		if err == nil {
			return kills
		}
		if status, ok := child.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
			t.Fatalf("the forge failed by itself: %v", err)
		}
		kills++
	}
}

// checkForged wants every blueprint stored and announced as it is stored.
func checkForged(t *testing.T, folder string, blueprints []*leyline.BlueprintDescriptor) {
	t.Helper()
	library := killedLibrary{folder}
	announced := lines(t, filepath.Join(folder, "announced"))
	for _, d := range blueprints {
		found, ok, err := library.stored(t.Context(), d.GetBlueprintId())
		if err != nil || !ok {
			t.Errorf("%s is not stored: %v", d.GetBlueprintId(), err)
			continue
		}
		if line := d.GetBlueprintId() + " " + found.Update.GetChecksum(); !slices.Contains(announced, line) {
			t.Errorf("%s was never announced", line)
		}
	}
	if needless := lines(t, filepath.Join(folder, "needless")); len(needless) > 0 {
		t.Errorf("compiled although stored: %v", needless)
	}
}

func lines(t *testing.T, path string) (list []string) {
	t.Helper()
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	for scanner := bufio.NewScanner(file); scanner.Scan(); {
		list = append(list, scanner.Text())
	}
	return list
}
