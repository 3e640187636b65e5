package letterapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/esper-lite/weatherlight/internal/httpserver"
	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/nissa/internal/letterapi"
	"github.com/esper-lite/weatherlight/nissa/internal/route"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/oona/deadletter"
	"github.com/esper-lite/weatherlight/signing"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const token = "sixteen-letters-and-more"

type desk struct {
	t      *testing.T
	bus    *oona.Client
	server *httptest.Server
	told   chan *leyline.TelemetryPacket
}

func connect(t *testing.T, url, secret string) *oona.Client {
	t.Helper()
	ring, err := signing.NewKeyring(secret)
	if err != nil {
		t.Fatal(err)
	}
	bus, err := oona.Connect(t.Context(), oona.Config{URL: url, Group: "weatherlight", Keyring: ring})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = bus.Close() })
	return bus
}

func open(t *testing.T, listener, token string) *desk {
	t.Helper()
	server := redistest.Start(t)
	d := &desk{t: t, bus: connect(t, server.URL, "a secret for the letters"), told: make(chan *leyline.TelemetryPacket, 8)}
	stranger := connect(t, server.URL, "another secret for letters")
	d.giveUp(map[*oona.Client]string{d.bus: "</script><b>seed", stranger: "forged"})
	mux := http.NewServeMux()
	address := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(listener))
	guard := httpserver.NewGuard(address, token)
	route.Register(mux, guard, letterapi.Routes(letterapi.Config{
		Queue: d.bus.DeadLetters(), Logger: slog.New(slog.DiscardHandler),
		Tell: func(_ context.Context, packet *leyline.TelemetryPacket) error {
			d.told <- packet
			return errors.New("the bus takes none")
		},
	}))
	d.server = httptest.NewServer(guard.Beyond(mux))
	t.Cleanup(func() {
		d.server.Close()
		d.server.Client().CloseIdleConnections()
	})
	return d
}

// giveUp has a group give up a command of each client.
func (d *desk) giveUp(seeds map[*oona.Client]string) {
	d.t.Helper()
	for bus, seed := range seeds {
		if err := bus.Publish(d.t.Context(), oona.Message{Payload: &leyline.AdaptationCommand{TargetSeedId: seed, IssuedBy: "test"}}); err != nil {
			d.t.Fatal(err)
		}
	}
	fetch, stop := context.WithCancel(d.t.Context())
	var consuming sync.WaitGroup
	consuming.Go(func() {
		refuse := func(context.Context, *oona.Delivery) ([]oona.Message, error) {
			return nil, oona.Permanent(errors.New("no such seed"))
		}
		err := d.bus.Consume(fetch, d.t.Context(), oona.Subscription{Stream: oona.DefaultStreams().Normal,
			Handlers: map[leyline.BusMessageType]oona.Handler{leyline.BusMessageType_BUS_MESSAGE_TYPE_ADAPTATION_COMMAND: refuse}})
		if err != nil {
			d.t.Error(err)
		}
	})
	for {
		letters, err := d.bus.DeadLetters().List(d.t.Context(), "", 10)
		if err != nil {
			d.t.Fatal(err)
		}
		if len(letters) == len(seeds) {
			break
		}
	}
	stop()
	consuming.Wait()
}

// ask returns status and answer. The word is that of the header Authorization.
func (d *desk) ask(method, path, word, body string) (int, string) {
	d.t.Helper()
	request, err := http.NewRequestWithContext(d.t.Context(), method, d.server.URL+path, strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	if word != "" {
		request.Header.Set("Authorization", word)
	}
	response, err := d.server.Client().Do(request)
	if err != nil {
		d.t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return response.StatusCode, string(content)
}

type letter struct {
	ID, Stream, Group, Type, Reason, Error, Replayed, Refused string
	Message                                                   struct {
		TargetSeedID string `json:"targetSeedId"`
	}
	Payload   []byte
	Signature string
}

func (d *desk) letters() []letter {
	d.t.Helper()
	status, body := d.ask(http.MethodGet, "/api/deadletters", "", "")
	var answer struct{ Letters []letter }
	if err := json.Unmarshal([]byte(body), &answer); err != nil || status != http.StatusOK {
		d.t.Fatalf("%d %s %v", status, body, err)
	}
	return answer.Letters
}

func (d *desk) letter(reason string) letter {
	d.t.Helper()
	all := d.letters()
	at := slices.IndexFunc(all, func(l letter) bool { return l.Reason == reason })
	if at < 0 {
		d.t.Fatalf("none is %s: %+v", reason, all)
	}
	return all[at]
}

const (
	known = "Bearer " + token
	ann   = `{"by":"ann","comment":"its seed is there now"}`
)

func TestLettersAreShownWithWhatTheyHold(t *testing.T) {
	d := open(t, "127.0.0.1:9100", token)
	given := d.letter("permanent")
	if given.Stream != "oona.normal" || given.Group != "weatherlight" || given.Type != "ADAPTATION_COMMAND" || !strings.Contains(given.Error, "no such seed") {
		t.Errorf("%+v", given)
	}
	status, body := d.ask(http.MethodGet, "/api/deadletters/"+given.ID, "", "")
	var shown letter
	if err := json.Unmarshal([]byte(body), &shown); err != nil || status != http.StatusOK || shown.Message.TargetSeedID != "</script><b>seed" ||
		!bytes.Contains(shown.Payload, []byte("<b>seed")) || strings.Contains(strings.ToLower(body), `"signature"`) {
		t.Errorf("%d %s %v", status, body, err)
	}
	if status, body := d.ask(http.MethodGet, "/api/deadletters?limit=1&after="+d.letters()[1].ID, "", ""); status != http.StatusOK || !strings.Contains(body, `"letters":[]`) {
		t.Errorf("%d %s", status, body)
	}
	for path, want := range map[string]int{"/api/deadletters/1-1": 404, "/api/deadletters/x": 404, "/api/deadletters?limit=0": 400,
		"/api/deadletters?after=bogus": 400, "/api/deadletters?after=(1-1": 400} {
		if status, body := d.ask(http.MethodGet, path, "", ""); status != want || !strings.Contains(body, `"error"`) {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}

func TestLetterIsReplayedOnceAndRemoved(t *testing.T) {
	d := open(t, "127.0.0.1:9100", token)
	path := "/api/deadletters/" + d.letter("permanent").ID
	if status, body := d.ask(http.MethodPost, path+"/replay", known, ann); status != http.StatusOK || !strings.Contains(body, "replayed") {
		t.Fatalf("%d %s", status, body)
	}
	if d.letter("permanent").Replayed == "" {
		t.Error("nobody sees that it was replayed")
	}
	if status, _ := d.ask(http.MethodPost, path+"/replay", known, ann); status != http.StatusConflict {
		t.Errorf("again: %d", status)
	}
	if open, forged := d.letter("permanent").Refused, d.letter("bad_signature").Refused; open != "" || !strings.Contains(forged, "signature") {
		t.Errorf("it is said that they cannot be replayed: %q, %q", open, forged)
	}
	forged := "/api/deadletters/" + d.letter("bad_signature").ID
	if status, body := d.ask(http.MethodPost, forged+"/replay", known, ann); status != http.StatusConflict || !strings.Contains(body, "signature") {
		t.Errorf("forged: %d %s", status, body)
	}
	if status, _ := d.ask(http.MethodDelete, path, known, ann); status != http.StatusNoContent || len(d.letters()) != 1 {
		t.Errorf("removed: %d, %d are left", status, len(d.letters()))
	}
	if status, _ := d.ask(http.MethodDelete, path, known, ann); status != http.StatusNotFound {
		t.Errorf("removed again: %d", status)
	}
	close(d.told)
	var told []string
	for packet := range d.told {
		event := packet.GetEvents()[0]
		told = append(told, event.GetDescription()+" by "+event.GetAttributes()["by"])
	}
	if !slices.Equal(told, []string{"dead_letter_replayed by ann", "dead_letter_removed by ann"}) {
		t.Errorf("told: %v", told)
	}
}

func TestWhoMayNotChangeOrRead(t *testing.T) {
	for name, test := range map[string]struct {
		listener, token, word, body string
		read, change                int
	}{
		"no word, here":         {"127.0.0.1:1", token, "", ann, 200, 401},
		"a wrong word, here":    {"[::1]:1", token, "Bearer wrong", ann, 200, 401},
		"no word, elsewhere":    {"0.0.0.0:1", token, "", ann, 401, 401},
		"known, elsewhere":      {"192.0.2.1:1", token, known, ann, 200, 200},
		"nobody has a word":     {"127.0.0.1:1", "", "Bearer ", ann, 200, 401},
		"nobody says who asks":  {"127.0.0.1:1", token, known, `{"comment":"x"}`, 200, 400},
		"a body that is none":   {"127.0.0.1:1", token, known, `{`, 200, 400},
		"a body without an end": {"127.0.0.1:1", token, known, `{"by":"` + strings.Repeat("a", 1<<20), 200, 400},
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t, test.listener, test.token)
			if status, body := d.ask(http.MethodGet, "/api/deadletters", test.word, ""); status != test.read {
				t.Errorf("read: %d %s", status, body)
			}
			letters, err := d.bus.DeadLetters().List(t.Context(), "", 10)
			if err != nil {
				t.Fatal(err)
			}
			at := slices.IndexFunc(letters, func(l deadletter.Letter) bool { return l.Reason == "permanent" })
			if status, body := d.ask(http.MethodPost, "/api/deadletters/"+letters[at].ID+"/replay", test.word, test.body); status != test.change {
				t.Errorf("change: %d %s", status, body)
			}
		})
	}
}
