package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

const (
	oldSecret = "old-secret-0123456789"
	newSecret = "new-secret-0123456789"

	// gathering is after how many requests their answers are taken down: long before
	// the stream of answers is full and loses the first.
	gathering = 2000
)

// rotation is a service whose secrets lie in a file, and a peer that signs with
// what it is told.
type rotation struct {
	*world

	file string
	sent []string

	gathered   map[string]bool // entries of the stream of answers
	answered   map[string]int  // by request
	signedWith map[string]int  // by secret
}

func newRotation(t *testing.T) *rotation {
	t.Helper()
	r := &rotation{world: newWorld(t), gathered: map[string]bool{}, answered: map[string]int{}, signedWith: map[string]int{}}
	r.file = filepath.Join(r.folder, "secrets")
	r.environ = slices.DeleteFunc(r.environ, func(pair string) bool { return pair == "ESPER_LEYLINE_SECRET="+secret })
	r.environ = append(r.environ, "ESPER_LEYLINE_SECRET_FILE="+r.file)
	return r
}

// write replaces the file as an operator's tools do, in one step.
func (r *rotation) write(secrets string) {
	r.t.Helper()
	if err := os.WriteFile(r.file+".new", []byte(secrets), 0o600); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Rename(r.file+".new", r.file); err != nil {
		r.t.Fatal(err)
	}
}

// gather takes down the answers that have come since the last time.
func (r *rotation) gather() {
	r.t.Helper()
	r.settled(streamRequests, patience)
	for _, e := range r.bus.entries(streamReady) {
		if r.gathered[e.id] {
			continue
		}
		r.gathered[e.id] = true
		payload := []byte(e.fields["payload"])
		for _, candidate := range []string{oldSecret, newSecret} {
			if e.fields["signature"] == sign(candidate, payload) {
				r.signedWith[candidate]++
			}
		}
		r.answered[decodeAnswer(r.t, payload).requestID]++
	}
}

// load sends requests signed with a secret until ok holds, and a few more. It
// returns when ok held first, from the beginning.
func (r *rotation) load(name, with string, ok func() bool) (held time.Duration) {
	r.t.Helper()
	begun := time.Now()
	for number, after := 0, 0; after < 20; number++ {
		id := fmt.Sprintf("%s-%d", name, number)
		payload := envelope(typeRequest, kernelRequest(id, compiled, "run-e2e", time.Now()))
		r.bus.do(addCommand(streamRequests, payload, sign(with, payload))...)
		r.sent = append(r.sent, id)
		if len(r.sent)%gathering == 0 {
			r.gather()
		}
		if !ok() {
			continue
		}
		if after++; after == 1 {
			held = time.Since(begun)
		}
	}
	return held
}

func (r *rotation) rotations() func() bool {
	before := 0
	count := func() int {
		n := 0
		for _, record := range r.records() {
			if record["msg"] == "secrets rotated" {
				n++
			}
		}
		return n
	}
	before = count()
	return func() bool { return count() > before }
}

// TestSecretsRotateUnderLoadWithNothingRefused goes through the three steps of
// a rotation while requests keep coming.
func TestSecretsRotateUnderLoadWithNothingRefused(t *testing.T) {
	begin(t)
	r := newRotation(t)
	r.write(oldSecret)
	r.bootForged()
	for _, step := range []struct{ name, file, sender string }{
		{"accept the new", oldSecret + "\n" + newSecret + "\n", oldSecret},
		{"sign with the new", newSecret + "\n" + oldSecret + "\n", newSecret},
		{"the last of the old", newSecret + "\n" + oldSecret + "\n# both\n", oldSecret},
		{"forget the old", newSecret + "\n", newSecret},
	} {
		r.settled(streamRequests, patience) // nothing of a secret that is dropped is under way
		rotated := r.rotations()
		r.write(step.file)
		took(t, "secret rotated", "file is written to "+step.name, r.load(step.name, step.sender, rotated), 0)
	}
	r.gather()
	for _, id := range r.sent {
		if r.answered[id] != 1 {
			t.Errorf("request %q was answered %d times", id, r.answered[id])
		}
	}
	if n := r.bus.length(streamDeadLetter); n != 0 {
		t.Errorf("%d messages were refused", n)
	}
	t.Logf("%d requests, answers signed with the old secret %d, with the new one %d",
		len(r.sent), r.signedWith[oldSecret], r.signedWith[newSecret])
	if r.signedWith[oldSecret] == 0 || r.signedWith[newSecret] == 0 {
		t.Error("the answers were not signed with one secret and then with the other")
	}
	// What is gone is gone.
	payload := envelope(typeRequest, kernelRequest("late", compiled, "run-e2e", time.Now()))
	id, _ := r.bus.do(addCommand(streamRequests, payload, sign(oldSecret, payload))...).(string)
	r.refused(streamRequests, id, "bad_signature")
	mustNotSay(t, "the log", r.process.stderr.String(), newSecret)
	r.stop()
}

// TestForeignSecretInTheFileTakesNoInstanceAway has one of two go over to a secret that
// nobody else has: it leads, and would refuse what everybody says.
func TestForeignSecretInTheFileTakesNoInstanceAway(t *testing.T) {
	begin(t)
	r := newRotation(t)
	r.environ = append(r.environ, "WEATHERLIGHT_HOUSEKEEPING_INTERVAL=2s") // an alarm of tasks outlasts its cause for 1.5 rounds
	r.write(oldSecret)
	r.bootForged()
	r.write(newSecret)
	eventually(t, "the alarm", patience, func() bool { return r.alarms()["housekeeping_failing"] != "" })
	r.load("meanwhile", oldSecret, func() bool { return true })
	r.gather()
	if r.answered["meanwhile-0"] == 0 || r.bus.length(streamDeadLetter) > 0 {
		t.Errorf("answers %v, %d refused", r.answered, r.bus.length(streamDeadLetter))
	}
	r.ready()
	r.write(oldSecret)
	eventually(t, "the alarm ends", patience, func() bool { return r.alarms()["housekeeping_failing"] == "" })
	r.stop()
}
