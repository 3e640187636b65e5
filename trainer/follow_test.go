package trainer_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/oona/deadletter"
)

// ofEnvelope are the reasons for which an entry is dropped before its command is
// looked at.
var ofEnvelope = []string{
	deadletter.ReasonUnsigned, deadletter.ReasonBadSignature, deadletter.ReasonUndecodable, deadletter.ReasonUnbound,
	deadletter.ReasonForeignStream, deadletter.ReasonWrongType, deadletter.ReasonStale, deadletter.ReasonFuture,
}

// TestBusHandsOnTheGoldenOrders puts the golden entries on a stream as they are:
// the bus's own reader drops the same ones, for the same reasons.
func TestBusHandsOnTheGoldenOrders(t *testing.T) {
	made := orderStory(t)
	server := redistest.Start(t)
	want, dropped := storeStory(t, server.Addr, made)
	client, err := oona.Connect(t.Context(), oona.Config{URL: server.URL, Keyring: keyring(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var got []*leyline.AdaptationCommand
	err = client.FollowOrders(ctx, made.Stream, func(command *leyline.AdaptationCommand) {
		if got = append(got, command); len(got) == len(want) {
			cancel()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("commands (-want +got):\n%s", diff)
	}
	counted := map[string]int{}
	for _, drop := range client.Drops() {
		counted[drop.Reason] += int(drop.Count)
	}
	if diff := cmp.Diff(dropped, counted); diff != "" {
		t.Errorf("drops (-want +got):\n%s", diff)
	}
}

// storeStory puts every entry on its stream, and says what is to be handed on and
// what is to be dropped.
func storeStory(t *testing.T, addr string, made story) (want []*leyline.AdaptationCommand, dropped map[string]int) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	replies := bufio.NewReader(conn)
	dropped = map[string]int{}
	for _, entry := range made.Entries {
		payload, err := base64.StdEncoding.DecodeString(entry.Payload)
		if err != nil {
			t.Fatal(err)
		}
		command := []string{"XADD", made.Stream, entry.ID, "payload", string(payload)}
		if entry.Signature != "" {
			command = append(command, "signature", entry.Signature)
		}
		fmt.Fprintf(conn, "*%d\r\n", len(command))
		for _, word := range command {
			fmt.Fprintf(conn, "$%d\r\n%s\r\n", len(word), word)
		}
		if line, err := replies.ReadString('\n'); err != nil || !strings.HasPrefix(line, "$") {
			t.Fatalf("%s: %q, %v", entry.Name, line, err)
		}
		if _, err := replies.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		if slices.Contains(ofEnvelope, entry.Then.Dropped) {
			dropped[entry.Then.Dropped]++
			continue
		}
		_, envelope := entry.envelope(t)
		handed := new(leyline.AdaptationCommand)
		if err := proto.Unmarshal(envelope.GetPayload(), handed); err != nil {
			t.Fatal(err)
		}
		want = append(want, handed)
	}
	return want, dropped
}
