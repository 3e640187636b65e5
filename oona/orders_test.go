package oona

import (
	"context"
	"slices"
	"strconv"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona/embedded"
	"github.com/esper-lite/weatherlight/oona/internal/delivery"
	"github.com/esper-lite/weatherlight/oona/internal/entry"
	"github.com/esper-lite/weatherlight/oona/internal/envelope"
	"github.com/esper-lite/weatherlight/oona/internal/verify"
	"github.com/esper-lite/weatherlight/signing"
)

func brokerClient(t testing.TB) (*embedded.Broker, *Client) {
	t.Helper()
	b, err := embedded.Start(embedded.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	ring, err := signing.NewKeyring("secret")
	if err != nil {
		t.Fatal(err)
	}
	c, err := Connect(t.Context(), Config{URL: b.URL(), Keyring: ring, DialTimeout: 15 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return b, c
}

// addOrder stores an order under an id that goes by the given time.
func addOrder(t *testing.T, c *Client, number int, at time.Time) {
	t.Helper()
	m := Message{Stream: "oona.run.r", Payload: &leyline.AdaptationCommand{CommandId: strconv.Itoa(number)}}
	draft, err := c.sealer.Seal(m.content(), at, &envelope.Slab{Left: 1})
	if err != nil {
		t.Fatal(err)
	}
	add := c.conn.B().Xadd().Key(m.Stream).Id(strconv.FormatInt(at.UnixMilli(), 10)+"-0").
		FieldValue().FieldValue(entry.Payload, draft.Payload).FieldValue(entry.Signature, draft.Signature).Build()
	if err := c.conn.Do(t.Context(), add).Error(); err != nil {
		t.Fatal(err)
	}
}

func TestStreamThatBeganAnewBelowItsOldEndIsReadFromTheBeginning(t *testing.T) {
	_, c := brokerClient(t)
	var taken []string
	f := c.follow("oona.run.r", func(_ string, o *leyline.AdaptationCommand) { taken = append(taken, o.GetCommandId()) })
	f.line = c.conn.NewLine("oona.run.r")
	defer f.line.Close()
	step := func(want ...string) {
		t.Helper()
		taken = nil
		ctx, end := context.WithTimeout(t.Context(), time.Minute)
		defer end()
		if err := f.step(ctx); err != nil {
			t.Fatal(err)
		}
		if len(taken) != len(want) || len(want) > 0 && taken[len(want)-1] != want[len(want)-1] {
			t.Errorf("took %v, want %v", taken, want)
		}
	}
	now := time.Now()
	addOrder(t, c, 1, now.Add(-2*time.Second))
	step("1")
	addOrder(t, c, 2, now.Add(-time.Second))
	step("2")
	f.scanned = time.Time{}
	step() // a scan of what is known
	for number, at := range map[int]time.Time{3: now.Add(-time.Hour), 4: now.Add(-time.Second)} {
		// Below the position, and then under an id that was another order's.
		if err := c.conn.Do(t.Context(), c.conn.B().Del().Key("oona.run.r").Build()).Error(); err != nil {
			t.Fatal(err)
		}
		addOrder(t, c, number, at)
		f.scanned = time.Time{}
		step(strconv.Itoa(number))
		addOrder(t, c, number+10, at.Add(time.Millisecond))
		step(strconv.Itoa(number + 10))
	}
}

func FuzzOpenOrder(f *testing.F) {
	ring, err := signing.NewKeyring("secret")
	if err != nil {
		f.Fatal(err)
	}
	cfg := Config{Keyring: ring}.withDefaults()
	c := newClient(cfg, nil)
	now := time.UnixMilli(1_700_000_000_000)
	for _, stream := range []string{"oona.run.r", "oona.run.other"} {
		draft, err := c.sealer.Seal(envelope.Content{Stream: stream, Payload: &leyline.AdaptationCommand{CommandId: "c"}}, now, &envelope.Slab{Left: 1})
		if err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(draft.Payload), "1700000000000-0")
		f.Add([]byte(draft.Payload), "1800000000000-0")
		f.Add([]byte(draft.Payload[:len(draft.Payload)-3]), "x")
	}
	f.Fuzz(func(t *testing.T, payload []byte, id string) {
		e := entry.Entry{ID: id, Payload: string(payload), Signature: ring.SignEnvelope(payload), Found: true}
		order, reason, err := c.openOrder(e, "oona.run.r", verify.Times{Bus: time.UnixMilli(1_900_000_000_000)})
		if (err == nil) != (reason == "") || (err == nil) != (order != nil) {
			t.Fatalf("order %v, reason %q, error %v", order, reason, err)
		}
		if err != nil {
			return
		}
		var signed leyline.BusEnvelope
		if err := proto.Unmarshal(payload, &signed); err != nil || signed.GetAttributes()["stream"] != "oona.run.r" {
			t.Fatalf("took %v of another stream, %v", &signed, err)
		}
	})
}

func TestTimesOfTheDueIndexAreExact(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		at := time.Unix(0, rapid.Int64Range(0, 4e18).Draw(t, "at"))
		due, err := strconv.ParseInt(dueText(at), 10, 64)
		if err != nil || time.UnixMilli(due).Before(at) || time.UnixMilli(due-1).After(at) {
			t.Fatalf("%v is due at %v, %v", at, time.UnixMilli(due), err)
		}
		claim := newClaim(at)
		score, err := strconv.ParseFloat(claimText(claim), 64)
		if err != nil || score == float64(int64(score)) || claim.Sub(at).Abs() > time.Millisecond {
			t.Fatalf("the claim until %v has score %s", at, claimText(claim))
		}
		if again := time.UnixMilli(int64(score)).Add(time.Duration((score - float64(int64(score))) * 1e6)); !again.Equal(claim) {
			t.Fatalf("the claim %v came back as %v", claim, again)
		}
	})
}

func TestMessagesAreDatedByTheClockOfTheBus(t *testing.T) {
	b, other := brokerClient(t)
	later := time.Now().Add(time.Hour)
	b.Do(later, "PING") // its clock shows that from now on
	c, err := Connect(t.Context(), other.cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if gap := c.Now().Sub(later); gap < 0 || gap > time.Minute {
		t.Errorf("the clock is %v from that of the bus", gap)
	}
	if err := c.PublishReport(t.Context(), &leyline.SystemStatePacket{PacketId: "p"}, nil); err != nil {
		t.Fatal(err)
	}
	entries, err := c.conn.Do(t.Context(), c.conn.B().Xrange().Key("oona.normal").Start("-").End("+").Build()).AsXRange()
	if err != nil || len(entries) != 1 {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
	payload := entries[0].FieldValues[entry.Payload]
	sealed, err := envelope.Decode([]byte(payload), payload)
	if gap := sealed.SignedAt().Sub(later); err != nil || gap < -time.Second || gap > time.Minute {
		t.Errorf("the report is dated %v from the time of the bus, %v", gap, err)
	}
}

// A report was as old for its taker as the clock of the bus had been moved.
func TestMessageWasIssuedByTheClockThatItWasStoredBy(t *testing.T) {
	b, other := brokerClient(t)
	here := time.Now()
	later := here.Add(time.Hour)
	b.Do(later, "PING") // its clock shows that from now on
	c, err := Connect(t.Context(), other.cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	const kind = leyline.BusMessageType_BUS_MESSAGE_TYPE_SYSTEM_STATE
	for name, signed := range map[string]time.Time{"by ours": here, "by that of the bus": later, "by none": {}} {
		var got *Delivery
		s := &subscriber{c: c, valid: map[leyline.BusMessageType]bool{kind: true}, sub: Subscription{
			Stream: "oona.normal", Handlers: map[leyline.BusMessageType]Handler{kind: nothing},
			Wanted: func(d *Delivery) bool { got = d; return true },
		}}
		payload, err := proto.Marshal(&leyline.BusEnvelope{MessageType: kind})
		if err != nil {
			t.Fatal(err)
		}
		if !signed.IsZero() {
			m := Message{Stream: "oona.normal", Payload: &leyline.SystemStatePacket{PacketId: "p"}}
			draft, err := c.sealer.Seal(m.content(), signed, &envelope.Slab{Left: 1})
			if err != nil {
				t.Fatal(err)
			}
			payload = []byte(draft.Payload)
		}
		c.cfg.Trust = TrustCompatible
		s.judge([]entry.Entry{{
			ID: strconv.FormatInt(later.UnixMilli(), 10) + "-0", Found: true, Attempt: 1,
			Payload: string(payload), Signature: c.cfg.Keyring.SignEnvelope(payload),
		}}, []delivery.Task{{Stored: later}})
		if got == nil {
			t.Fatalf("%s: not delivered", name)
		}
		if got.Issued.IsZero() != signed.IsZero() || !signed.IsZero() && got.Published.Sub(got.Issued).Abs() > time.Minute {
			t.Errorf("signed %s: issued at %v, published at %v", name, got.Issued, got.Published)
		}
	}
}

func nothing(context.Context, *Delivery) ([]Message, error) { return nil, nil }

// readOrders looks for orders once.
func readOrders(t *testing.T, reader *Orders, want ...string) {
	t.Helper()
	orders, err := reader.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range orders {
		got = append(got, o.Payload.(*leyline.AdaptationCommand).GetCommandId())
	}
	if !slices.Equal(got, want) {
		t.Errorf("read %v, want %v", got, want)
	}
}

func TestOrdersAreReadFromWhereTheReaderStands(t *testing.T) {
	_, c := brokerClient(t)
	reader := NewOrders(c, "oona.run.r")
	read := func(want ...string) {
		t.Helper()
		readOrders(t, reader, want...)
	}
	read() // there is no such stream yet
	now := time.Now()
	addOrder(t, c, 1, now.Add(-2*time.Second))
	addOrder(t, c, 2, now.Add(-time.Second))
	read("1", "2")
	read()
	forged := c.conn.B().Xadd().Key("oona.run.r").Id("*").FieldValue().FieldValue(entry.Payload, "x").FieldValue(entry.Signature, "y").Build()
	if err := c.conn.Do(t.Context(), forged).Error(); err != nil {
		t.Fatal(err)
	}
	read()
	addOrder(t, c, 3, time.Now().Add(time.Second))
	read("3")
}

func TestOrdersOfAStreamThatBeganAnewAreRead(t *testing.T) {
	_, c := brokerClient(t)
	reader := NewOrders(c, "oona.run.r")
	now := time.Now()
	addOrder(t, c, 1, now.Add(-time.Second))
	readOrders(t, reader, "1")
	if err := c.conn.Do(t.Context(), c.conn.B().Del().Key("oona.run.r").Build()).Error(); err != nil {
		t.Fatal(err)
	}
	addOrder(t, c, 2, now.Add(-time.Hour))
	reader.follower.scanned = time.Time{} // it looks at everything now and then
	readOrders(t, reader, "2")
	readOrders(t, reader)
}

func TestOrderIsReadThatIsDatedByAClockSetSince(t *testing.T) {
	b, c := brokerClient(t)
	reader := NewOrders(c, "oona.run.r")
	readOrders(t, reader)
	later := time.Now().Add(time.Hour)
	b.Do(later, "PING") // its clock shows that from now on
	addOrder(t, c, 1, later)
	readOrders(t, reader, "1")
}
