package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/redis/rueidis"

	"github.com/esper-lite/weatherlight/cmd/internal/process"
	"github.com/esper-lite/weatherlight/oona"
)

// onRedis runs commands on the server of the test.
func onRedis(t *testing.T, lines ...string) {
	t.Helper()
	options, err := rueidis.ParseURL(os.Getenv("REDIS_URL"))
	if err != nil {
		t.Fatal(err)
	}
	client, err := rueidis.NewClient(options)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, line := range lines {
		if err := client.Do(t.Context(), client.B().Arbitrary(strings.Fields(line)...).Build()).Error(); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	}
}

// What the list says of a stream is what the service says of it: a group that nobody ever read
// is not the slowest.
func TestStreamsListAgreesWithStatus(t *testing.T) {
	bus := onBus(t)
	normal := oona.DefaultStreams().Normal
	for i := range 3 {
		if err := bus.Publish(context.Background(), command(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	onRedis(t, "XGROUP CREATE "+normal+" reading 0", "XGROUP CREATE "+normal+" never-read 0",
		"XGROUP CREATE "+oona.DefaultStreams().Policy+" nothing-to-read 0 MKSTREAM", "XGROUP CREATE "+normal+" at-the-end $",
		"XREADGROUP GROUP reading reader COUNT 1 STREAMS "+normal+" >")
	stats, err := bus.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	behind, slowest := stats.Streams["normal"].Backlog, stats.Streams["normal"].Slowest
	printed := mustRun(t, "streams", "list", "-o", "wide")
	for line := range strings.Lines(printed) {
		if cells := strings.Fields(line); len(cells) > 5 && cells[0] == normal && (cells[4] != fmt.Sprint(behind) || cells[5] != slowest) {
			t.Errorf("the service says that %s is %d behind:\n%s", slowest, behind, printed)
		}
	}
	if !strings.Contains(printed, "nobody reads  never-read on "+normal+"\n") {
		t.Errorf("it does not say what nobody reads:\n%s", printed)
	}
	if slowest != "reading" || behind != 3 {
		t.Errorf("%s is %d behind", slowest, behind)
	}
}

// A service has groups on streams that it reads only at times: they are not removed under it.
func TestGroupOfARunningServiceIsKept(t *testing.T) {
	onBus(t)
	streams := oona.DefaultStreams()
	for _, group := range []string{"runs", "gone"} {
		for _, stream := range []string{streams.Normal, streams.Telemetry} {
			onRedis(t, "XGROUP CREATE "+stream+" "+group+" 0 MKSTREAM")
		}
	}
	onRedis(t, "XADD "+streams.Telemetry+" * no message", "XREADGROUP GROUP runs reader COUNT 1 STREAMS "+streams.Telemetry+" >")
	for _, stream := range []string{streams.Normal, streams.Telemetry} {
		_, err := run(t, "streams", "groups", "remove", stream, "runs")
		if process.ExitCode(err) != process.ExitFailed || !strings.Contains(err.Error(), "--force") || !strings.Contains(err.Error(), streams.Telemetry) {
			t.Errorf("from %s: %v", stream, err)
		}
	}
	for _, line := range [][]string{{streams.Normal, "gone"}, {streams.Normal, "runs", "--force"}} {
		mustRun(t, append([]string{"streams", "groups", "remove"}, line...)...)
	}
}
