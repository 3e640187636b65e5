package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/esper-lite/weatherlight/cmd/internal/process"
)

// TestR24ReadySaysWhyNotOnOneLine: it printed {; "reason": ...,; }, and wanted a scheme.
func TestR24ReadySaysWhyNotOnOneLine(t *testing.T) {
	t.Parallel()
	answer := "{\n  \"status\": \"not_ready\",\n  \"reason\": \"bus_down: no answer\"\n}\n"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = fmt.Fprint(w, answer)
	}))
	defer server.Close()
	_, err := run(t, "ready", strings.TrimPrefix(server.URL, "http://"))
	if process.ExitCode(err) != process.ExitFailed || err.Error() != server.URL+" is not ready: bus_down: no answer: try again, or look at esperctl status" {
		t.Errorf("exit code %d: %v", process.ExitCode(err), err)
	}
}

// TestR24EmptyTablesSayThatTheyAre: they were a head with nothing below it.
func TestR24EmptyTablesSayThatTheyAre(t *testing.T) {
	onBus(t)
	served(t, map[string]string{
		"/api/runs": `{"runs":[]}`, "/api/events": `{"events":[]}`, "/api/alerts": `{"alerts":[]}`, "/status": `{"state":"ready"}`,
	})
	for command, want := range map[string]string{
		"deadletters list": "none\n", "policy list": "none\n", "runs list": "none\n", "seeds list": "none\n",
		"trainers list": "none\n", "workers": "none\n", "events": "none\n", "alarms list": "nothing is raised\n",
	} {
		if got := mustRun(t, strings.Fields(command)...); got != want {
			t.Errorf("%s prints %q, want %q", command, got, want)
		}
	}
}

// TestR24FlagThatIsWrongIsNamed: an error of --slot named TEZZERET_SLOT, which nobody had set.
func TestR24FlagThatIsWrongIsNamed(t *testing.T) {
	t.Chdir(t.TempDir())
	_, err := run(t, "demo", "--slot", "8x0")
	if process.ExitCode(err) != process.ExitConfiguration || !strings.Contains(err.Error(), "--slot") ||
		strings.Contains(err.Error(), "TEZZERET_SLOT") {
		t.Errorf("exit code %d: %v", process.ExitCode(err), err)
	}
}

// TestR24DeadLetterOfThePrototypeHasATimeAndCanBeReplayed: it says nothing but the message, so
// that it was of the year 1 and went nowhere.
func TestR24DeadLetterOfThePrototypeHasATimeAndCanBeReplayed(t *testing.T) {
	bus := onBus(t)
	theirs := giveUp(t, bus, command("theirs"))[0]
	letter, err := bus.DeadLetters().Get(t.Context(), theirs.ID)
	if err != nil {
		t.Fatal(err)
	}
	option := rueidis.MustParseURL(os.Getenv("REDIS_URL"))
	option.DisableCache = true
	redis, err := rueidis.NewClient(option)
	if err != nil {
		t.Fatal(err)
	}
	defer redis.Close()
	id, err := redis.Do(context.Background(), redis.B().Xadd().Key("oona.deadletter").Id("*").FieldValue().
		FieldValue("payload", string(letter.Payload)).FieldValue("signature", letter.Signature).Build()).ToString()
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range listed(t) {
		if entry.ID == id && time.Since(entry.Time).Abs() > time.Hour {
			t.Errorf("it was given up at %s", entry.Time)
		}
	}
	if out := mustRun(t, "deadletters", "replay", id); !strings.HasPrefix(out, id+"  replayed as ") {
		t.Error(out)
	}
	said, err := redis.Do(context.Background(), redis.B().Xlen().Key("oona.normal").Build()).AsInt64()
	if err != nil || said != 2 {
		t.Errorf("%d messages on its stream, %v", said, err)
	}
}
