package main

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/cmd/internal/process"
	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/oona/deadletter"
	"github.com/esper-lite/weatherlight/signing"
)

const letterSecret = "a secret for the tests of dead letters"

// onBus points the command at a Redis of its own and joins it.
func onBus(t *testing.T) *oona.Client {
	t.Helper()
	server := redistest.Start(t)
	t.Chdir(t.TempDir())
	t.Setenv("REDIS_URL", server.URL)
	t.Setenv("ESPER_LEYLINE_SECRET", letterSecret)
	ring, err := signing.NewKeyring(letterSecret)
	if err != nil {
		t.Fatal(err)
	}
	bus, err := oona.Connect(context.Background(), oona.Config{URL: server.URL, Group: "weatherlight", Keyring: ring})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = bus.Close() })
	return bus
}

// giveUp lets a group give up messages, and returns once all are dead letters.
func giveUp(t *testing.T, bus *oona.Client, messages ...oona.Message) []letterEntry {
	t.Helper()
	if err := bus.Publish(context.Background(), messages...); err != nil {
		t.Fatal(err)
	}
	refuse := func(context.Context, *oona.Delivery) ([]oona.Message, error) {
		return nil, oona.Permanent(errors.New("no such seed\nand more of it"))
	}
	fetch, stop := context.WithCancel(context.Background())
	var consuming sync.WaitGroup
	consuming.Go(func() {
		err := bus.Consume(fetch, context.Background(), oona.Subscription{Stream: oona.DefaultStreams().Normal,
			Handlers: map[leyline.BusMessageType]oona.Handler{leyline.BusMessageType_BUS_MESSAGE_TYPE_ADAPTATION_COMMAND: refuse}})
		if err != nil {
			t.Error(err)
		}
	})
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(30 * time.Second); len(listed(t, "--limit", "1000")) < len(messages); <-poll.C {
		if time.Now().After(deadline) {
			t.Error("they never became dead letters")
			break
		}
	}
	stop()
	consuming.Wait()
	return listed(t)
}

func listed(t *testing.T, flags ...string) []letterEntry {
	t.Helper()
	var entries []letterEntry
	out := mustRun(t, append([]string{"deadletters", "list", "--json"}, flags...)...)
	if err := json.Unmarshal([]byte(out), &entries); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	return entries
}

func command(id string) oona.Message {
	return oona.Message{Payload: &leyline.AdaptationCommand{CommandId: id}}
}

func TestDeadLettersAreFoundInspectedReplayedAndPurged(t *testing.T) {
	bus := onBus(t)
	entries := giveUp(t, bus, command("one"), command("two"), command("three"))
	first := entries[0]
	if len(entries) != 3 || first.Reason != "permanent" || first.Stream != "oona.normal" || first.Group != "weatherlight" ||
		first.Type != "BUS_MESSAGE_TYPE_ADAPTATION_COMMAND" || first.Attempts != 1 {
		t.Fatalf("%+v", entries)
	}
	table := mustRun(t, "deadletters", "list")
	if lines := strings.Split(strings.TrimSpace(table), "\n"); len(lines) != 4 || !strings.Contains(lines[1], "no such seed…") {
		t.Error(table)
	}
	if out := mustRun(t, "deadletters", "show", first.ID); !strings.Contains(out, `"commandId"`) || !strings.Contains(out, "and more of it") {
		t.Error(out)
	}
	var details letterDetails
	if err := json.Unmarshal([]byte(mustRun(t, "deadletters", "show", first.ID, "--json")), &details); err != nil ||
		len(details.Payload) == 0 || details.Signature == "" || details.Attributes["stream"] != "oona.normal" {
		t.Errorf("%+v, %v", details, err)
	}
	if out := mustRun(t, "deadletters", "replay", first.ID); !strings.HasPrefix(out, first.ID+"  replayed as ") {
		t.Error(out)
	}
	out, err := run(t, "deadletters", "replay", first.ID, "1-1")
	if process.ExitCode(err) != process.ExitFailed || !strings.Contains(out, "was replayed before") || !strings.Contains(out, "1-1  no such") {
		t.Errorf("%s, %v", out, err)
	}
	if out := mustRun(t, "deadletters", "list"); !strings.Contains(out, "  replayed  ") {
		t.Error(out)
	}
	if _, err := run(t, "deadletters", "list", "--after", "bogus"); process.ExitCode(err) != process.ExitConfiguration {
		t.Errorf("after what is no id: %v", err)
	}
	if out := mustRun(t, "deadletters", "purge", first.ID); out != "1 purged\n" {
		t.Error(out)
	}
	if out := mustRun(t, "deadletters", "purge", "--older-than", "1h"); out != "0 purged\n" {
		t.Error(out)
	}
	if out := mustRun(t, "deadletters", "purge", "--older-than", "0s"); out != "2 purged\n" {
		t.Error(out)
	}
	if left := listed(t); len(left) != 0 {
		t.Errorf("%+v", left)
	}
}

func TestDeadLettersAreFilteredAndPaged(t *testing.T) {
	bus := onBus(t)
	messages := make([]oona.Message, 120) // more than one page of the bus
	for i := range messages {
		messages[i] = command("c")
	}
	entries := giveUp(t, bus, messages...)
	if len(entries) != 100 {
		t.Fatalf("%d entries within the default limit", len(entries))
	}
	rest := listed(t, "--after", entries[99].ID)
	if all := listed(t, "--limit", "1000"); len(all) != 120 || len(rest) != 20 || rest[0].ID != all[100].ID {
		t.Errorf("%d entries, %d in the rest", len(all), len(rest))
	}
	for flags, want := range map[string]int{
		"--stream oona.normal --reason permanent --group weatherlight --limit 7": 7,
		"--stream oona.policy": 0, "--reason stale": 0, "--group other": 0,
	} {
		if got := listed(t, strings.Fields(flags)...); len(got) != want {
			t.Errorf("%s: %d entries, want %d", flags, len(got), want)
		}
	}
}

func TestDeadLetterThatCannotBeReadIsShownAsItIs(t *testing.T) {
	details := newLetterDetails(deadletter.Letter{ID: "1-1", Reason: deadletter.ReasonUndecodable, Payload: []byte("\xff\xff")})
	if details.Unreadable == "" || details.Message != nil || details.Type != "unreadable" {
		t.Errorf("%+v", details)
	}
}

func TestDeadLetterCommandsTellWhatIsWrong(t *testing.T) {
	onBus(t)
	for _, test := range []struct {
		arguments []string
		url       string
		code      int
	}{
		{[]string{"deadletters", "show", "1-1"}, "", process.ExitFailed},
		{[]string{"deadletters", "show", "nonsense"}, "", process.ExitFailed},
		{[]string{"deadletters", "purge"}, "", process.ExitConfiguration},
		{[]string{"deadletters", "purge", "1-1", "--older-than", "1h"}, "", process.ExitConfiguration},
		{[]string{"deadletters", "purge", "1-1"}, "", process.ExitFailed},
		{[]string{"deadletters", "list"}, "embedded:", process.ExitConfiguration},
		{[]string{"deadletters", "list"}, "redis://127.0.0.1:1", process.ExitDependency},
	} {
		if test.url != "" {
			t.Setenv("REDIS_URL", test.url)
		}
		if _, err := run(t, test.arguments...); process.ExitCode(err) != test.code {
			t.Errorf("%v with %q: exit code %d, error %v", test.arguments, test.url, process.ExitCode(err), err)
		}
	}
	t.Setenv("ESPER_LEYLINE_SECRET", "")
	if _, err := run(t, "deadletters", "purge", "1-1"); process.ExitCode(err) != process.ExitConfiguration {
		t.Errorf("without a secret: %v", err)
	}
}
