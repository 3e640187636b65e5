package shmsignal

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/esper-lite/weatherlight/weatherlight/internal/shmsignal/shmsignaltest"
)

func TestRecreatedSegmentIsWatchedAgain(t *testing.T) {
	d := emergencyDeck(t)
	for i := range 3 {
		d.write(0, make([]byte, emergencySize))
		d.look(restPause)
		d.write(0, shmsignaltest.Emergency(1, uint64(i)+1, "again"))
		d.look(2 * emergencyCooldown)
		if got := len(d.list()); got != i+1 {
			t.Fatalf("%d triggers after the trainer started %d times", got, i+1)
		}
		if err := os.Remove(d.path); err != nil {
			t.Fatal(err)
		}
		if i == 1 {
			d.look(2 * restPause) // gone for a while; else recreated at once
		}
	}
}

func TestLastAlarmOfATrainerThatEndsIsHeard(t *testing.T) {
	d := emergencyDeck(t)
	d.write(0, make([]byte, emergencySize))
	d.look(20 * time.Millisecond)
	d.write(0, shmsignaltest.Emergency(4, 3, "dying"))
	if err := os.Remove(d.path); err != nil {
		t.Fatal(err)
	}
	d.look(20 * time.Millisecond)
	d.wantTriggers(Trigger{Level: halt, Reason: "dying", AtMs: 3, Count: 1})
}

func TestAlarmWaitsUntilTelemetryHasRoom(t *testing.T) {
	d := emergencyDeck(t)
	d.setFull(true)
	d.write(0, shmsignaltest.Emergency(1, 1, "first"))
	d.look(time.Second)
	d.write(0, shmsignaltest.Emergency(4, 2, "second"))
	d.look(time.Second)
	d.wantTriggers()
	d.setFull(false)
	d.look(time.Second)
	d.wantTriggers(Trigger{Level: halt, Reason: "second", AtMs: 2, Count: 2})
}

func TestHeldAlarmIsReportedWhenWeStop(t *testing.T) {
	d := emergencyDeck(t)
	for at := uint64(1); at <= 2; at++ {
		d.write(0, shmsignaltest.Emergency(1, at, "again"))
		d.look(20 * time.Millisecond)
	}
	if got := len(d.list()); got != 1 {
		t.Fatalf("%d triggers within the cooldown", got)
	}
	stop := run(t, polling(d.monitor))
	stop()
	if got := len(d.list()); got != 2 {
		t.Errorf("%d triggers after the stop, want 2", got)
	}
}

func TestForeignSegmentIsRefusedWithItsSize(t *testing.T) {
	for _, test := range []struct {
		name string
		make func(path string) error
		want string
	}{
		{"too short", func(path string) error { return os.WriteFile(path, make([]byte, 16), 0o600) }, "16 bytes, want 64"},
		{"too long", func(path string) error { return os.WriteFile(path, make([]byte, 65), 0o600) }, "65 bytes, want 64"},
		{"a pipe", func(path string) error { return syscall.Mkfifo(path, 0o600) }, "not a regular file"},
		{"left by a trainer that died before it gave a size", func(path string) error {
			long := time.Now().Add(-time.Minute)
			return errors.Join(os.WriteFile(path, nil, 0o600), os.Chtimes(path, long, long))
		}, "0 bytes, want 64"},
		{"a folder", func(path string) error { return os.Mkdir(path, 0o700) }, "directory"},
		{"a link", func(path string) error { return os.Symlink("/etc/hostname", path) }, "symbolic"},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := emergencyDeck(t)
			if err := test.make(d.path); err != nil {
				t.Fatal(err)
			}
			_, err := d.monitor.look(d.now)
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), d.path) {
				t.Errorf("error %v, want %q and the path", err, test.want)
			}
		})
	}
}

func TestSegmentRoundedUpToAPageIsRead(t *testing.T) {
	d := emergencyDeck(t)
	page := make([]byte, os.Getpagesize())
	copy(page, shmsignaltest.Emergency(1, 2, "mac"))
	if err := os.WriteFile(d.path, page, 0o600); err != nil {
		t.Fatal(err)
	}
	d.look(20 * time.Millisecond)
	d.wantTriggers(Trigger{Level: notice, Reason: "mac", AtMs: 2, Count: 1})
}

func TestSegmentCutShortDoesNotEndTheProcess(t *testing.T) {
	d := emergencyDeck(t)
	d.write(0, make([]byte, emergencySize))
	d.look(10 * time.Millisecond)
	if err := os.Truncate(d.path, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := d.monitor.look(d.now); err == nil {
		t.Error("nothing was said about memory that went away")
	}
	if err := d.monitor.segment.detach(); err != nil { // as the end of Run does
		t.Fatal(err)
	}
	d.write(0, shmsignaltest.Emergency(1, 2, "back"))
	d.look(restPause)
	d.wantTriggers(Trigger{Level: notice, Reason: "back", AtMs: 2, Count: 1})
}

func TestSegmentWithoutSizeYetIsWaitedFor(t *testing.T) {
	d := emergencyDeck(t)
	if err := os.WriteFile(d.path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if pause, err := d.monitor.look(d.now); err != nil || pause != restPause {
		t.Errorf("look = %v, %v", pause, err)
	}
}

func FuzzDecodeSharedSignals(f *testing.F) {
	f.Add(shmsignaltest.Emergency(4, 0x0102030405060708, "rollback_deadline_ü"))
	f.Add(bytes.Repeat([]byte{0xff}, emergencySize))
	f.Fuzz(func(t *testing.T, record []byte) {
		if len(record) < emergencySize {
			return
		}
		record = record[:emergencySize]
		signal := decodeEmergency(record)
		if !utf8.ValidString(signal.reason) || len(signal.reason) > emergencySize-emergencyHeader {
			t.Errorf("reason %q", signal.reason)
		}
		if signal.level < 0 || signal.level > 255 {
			t.Errorf("level %d", signal.level)
		}
		if raised := decodeRollback(record[:rollbackSize]).raised; raised != (record[0] == 1) {
			t.Errorf("raised %v with flag %d", raised, record[0])
		}
	})
}
