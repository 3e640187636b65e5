package fieldreport_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/oona/outbox"
	"github.com/esper-lite/weatherlight/tamiyo/fieldreport"
)

// What this test binary is told by when it is started by itself to be killed: the
// folder to keep reports in, and the step that it dies at, 0 for none.
const (
	killedFolder = "FIELDREPORT_KILLED_FOLDER"
	killedStep   = "FIELDREPORT_KILLED_STEP"
	reports      = 3
)

// A process dies before and after each report is put into the outbox. The next one is
// given all of them again, as it would be from the record of their run: each is
// published, and is in the log once.
func TestKilledAroundTheOutboxLosesNoReport(t *testing.T) {
	if folder := os.Getenv(killedFolder); folder != "" {
		if err := keepUntilKilled(t.Context(), folder); err != nil {
			t.Fatal(err)
		}
		return
	}
	for step := range 2 * reports {
		folder := t.TempDir()
		keepInChild(t, folder, step+1)
		sent := published(t, folder)
		keepInChild(t, folder, 0)
		for _, name := range published(t, folder) {
			if !slices.Contains(sent, name) {
				sent = append(sent, name)
			}
		}
		want := []string{"0", "1", "2"}
		log, err := fieldreport.Open(t.Context(), filepath.Join(folder, "field_reports.log"), fieldreport.Config{})
		if err != nil {
			t.Fatal(err)
		}
		var kept []string
		all, err := log.All()
		if err != nil {
			t.Fatal(err)
		}
		for _, report := range all {
			kept = append(kept, report.GetReportId())
		}
		if err := log.Close(); err != nil {
			t.Error(err)
		}
		if !slices.Equal(sent, want) || !slices.Equal(kept, want) {
			t.Errorf("killed at step %d: published %v, kept %v", step+1, sent, kept)
		}
	}
}

func keepInChild(t *testing.T, folder string, step int) {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	child.Env = append(os.Environ(), killedFolder+"="+folder, killedStep+"="+strconv.Itoa(step))
	out, err := child.CombinedOutput()
	if killed := step > 0; killed == (err == nil) || killed == child.ProcessState.Exited() {
		t.Fatalf("step %d: %v\n%s", step, err, out)
	}
}

// keepUntilKilled is the body of the process that is killed.
func keepUntilKilled(ctx context.Context, folder string) error {
	left, err := strconv.Atoi(os.Getenv(killedStep))
	if err != nil {
		return err
	}
	step := func() {
		if left--; left == 0 {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // until the signal has come
		}
	}
	box, err := outbox.Open(ctx, outbox.Config{File: filepath.Join(folder, "outbox.db")})
	if err != nil {
		return err
	}
	publish := func(ctx context.Context, report *leyline.FieldReport) error {
		step()
		defer step()
		return box.Put(ctx, oona.Message{Payload: report, Once: report.GetReportId()})
	}
	log, err := fieldreport.Open(ctx, filepath.Join(folder, "field_reports.log"), fieldreport.Config{Publish: publish})
	if err != nil {
		return errors.Join(err, box.Close())
	}
	for id := range reports {
		err = errors.Join(err, log.Keep(ctx, &leyline.FieldReport{ReportId: fmt.Sprint(id), IssuedAt: timestamppb.Now()}))
	}
	return errors.Join(err, log.Close(), box.Close())
}

// published drains the outbox, and returns the names of what was in it.
func published(t *testing.T, folder string) []string {
	t.Helper()
	box, err := outbox.Open(t.Context(), outbox.Config{File: filepath.Join(folder, "outbox.db")})
	if err != nil {
		t.Fatal(err)
	}
	var b drained
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- box.Run(ctx, &b) }()
	for waiting := 1; waiting > 0; {
		if waiting, _, err = box.Waiting(ctx); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := errors.Join(<-ended, box.Close()); err != nil {
		t.Error(err)
	}
	return b.names
}

type drained struct{ names []string }

func (d *drained) Publish(_ context.Context, messages ...oona.Message) error {
	for _, m := range messages {
		d.names = append(d.names, m.Once)
	}
	return nil
}
