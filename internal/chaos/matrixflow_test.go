package chaos_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/esper-lite/weatherlight/internal/chaos"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/signing"
)

const (
	matrixPace = 200 * time.Millisecond // between two messages of one kind
	lookPause  = 50 * time.Millisecond  // between two looks for effects
	// reported is how many runs have reported before, for the commands.
	reported = 400
)

// accountState is shared by who sends and who looks.
type accountState struct {
	mu    sync.Mutex
	acked map[string]time.Time
	seen  map[string]time.Time // when the effect was seen first
	once  map[string]bool
	last  map[string]string // stream -> the last entry that was read
}

func newAccount(k kind) *account {
	return &account{kind: k, history: chaos.NewHistory(), guarded: accountState{
		acked: map[string]time.Time{}, seen: map[string]time.Time{}, once: map[string]bool{}, last: map[string]string{},
	}}
}

func (l *account) acknowledge(id string) {
	l.history.Acknowledge(id)
	l.guarded.mu.Lock()
	defer l.guarded.mu.Unlock()
	l.guarded.acked[id] = time.Now()
}

// effect notes that a message of this kind took effect.
func (l *account) effect(id string) {
	if !strings.HasPrefix(id, l.prefix()) {
		return
	}
	l.history.Effect(chaos.Message{ID: id})
	l.guarded.mu.Lock()
	defer l.guarded.mu.Unlock()
	if _, again := l.guarded.seen[id]; !again {
		l.guarded.seen[id] = time.Now()
	}
}

func (l *account) prefix() string { return strings.ReplaceAll(l.name, " ", "-") + "-" }

// sent are the messages that were acknowledged.
func (l *account) sent() []string {
	l.guarded.mu.Lock()
	defer l.guarded.mu.Unlock()
	return slices.Collect(maps.Keys(l.guarded.acked))
}

// missing are those of them without an effect.
func (l *account) missing() []string { return l.history.Lost() }

// first tells the first mention of a name from the others.
func (l *account) first(name string) bool {
	l.guarded.mu.Lock()
	defer l.guarded.mu.Unlock()
	again := l.guarded.once[name]
	l.guarded.once[name] = true
	return !again
}

// after is where the next look at a stream begins.
func (l *account) after(stream string) string {
	l.guarded.mu.Lock()
	defer l.guarded.mu.Unlock()
	if last := l.guarded.last[stream]; last != "" {
		return "(" + last
	}
	return "-"
}

func (l *account) read(stream, id string) {
	l.guarded.mu.Lock()
	defer l.guarded.mu.Unlock()
	l.guarded.last[stream] = id
}

// flow is every kind of message on its way through a site, while something breaks.
type flow struct {
	site       *site
	ring       *signing.Keyring
	peer       *oona.Client
	blueprints []string
	accounts   []*account

	sending, looking sync.WaitGroup
	stopped, ended   context.Context
	stop, end        context.CancelFunc
}

// startFlow begins to send, once the runs are there that commands are about.
func startFlow(s *site, blueprints []string) *flow {
	s.t.Helper()
	f := &flow{site: s, ring: keyring(s.t), peer: s.peer(), blueprints: blueprints}
	f.stopped, f.stop = context.WithCancel(context.Background())
	f.ended, f.end = context.WithCancel(context.Background())
	s.t.Cleanup(f.close)
	f.introduce()
	for _, k := range kinds {
		l := newAccount(k)
		f.accounts = append(f.accounts, l)
		f.sending.Go(func() { f.send(l) })
		f.looking.Go(func() { f.watch(l) })
	}
	return f
}

// introduce has the runs report that commands will be about.
func (f *flow) introduce() {
	f.site.t.Helper()
	halted := newAccount(kind{name: "command"})
	var batch []oona.Message
	for n := range reported {
		id := fmt.Sprint(halted.prefix(), n)
		m := report1(f, id, n)
		m.Once = "" // the name is the command's
		batch = append(batch, m)
		halted.acknowledge(id)
	}
	if err := f.peer.Publish(f.ended, batch...); err != nil {
		f.site.t.Fatal(err)
	}
	await(f.site.t, "the runs are known", func() bool {
		recordsOf(f, halted)
		return len(halted.missing()) == 0
	})
}

// send sends one message after the other, each until it is acknowledged.
func (f *flow) send(l *account) {
	for n := 0; f.stopped.Err() == nil && n < reported; n++ {
		id := fmt.Sprint(l.prefix(), n)
		m := l.message(f, id, n)
		for f.peer.Publish(f.stopped, m) != nil {
			if pause(f.stopped, insistPause); f.stopped.Err() != nil {
				return // never acknowledged, and never promised
			}
		}
		l.acknowledge(id)
		pause(f.stopped, matrixPace)
	}
}

func (f *flow) watch(l *account) {
	for f.ended.Err() == nil {
		l.look(f, l)
		pause(f.ended, lookPause)
	}
}

// finish stops sending and waits until all that was acknowledged took effect, or nothing
// has for long.
func (f *flow) finish(within time.Duration) {
	f.stop()
	f.sending.Wait()
	left := func() (n int) {
		for _, l := range f.accounts {
			n += len(l.missing())
		}
		return n
	}
	best := left()
	for moved := time.Now(); best > 0 && time.Since(moved) < within; pause(f.ended, lookPause) {
		if n := left(); n < best {
			best, moved = n, time.Now()
		}
	}
	pause(f.ended, time.Second) // for what would come twice
	f.close()
}

func (f *flow) close() {
	f.stop()
	f.sending.Wait()
	f.end()
	f.looking.Wait()
}

// ear hears what the instances say of themselves while a fault lasts.
type ear struct {
	mu    sync.Mutex
	heard map[string]bool
}

// listen asks each instance for its alarms and its readiness until ctx is done.
func (e *ear) listen(ctx context.Context, instances []*instance) {
	for ; ctx.Err() == nil; pause(ctx, 200*time.Millisecond) {
		for _, i := range instances {
			e.ask(ctx, i)
		}
	}
}

func (e *ear) ask(ctx context.Context, i *instance) {
	code, _, err := get(i.http, "/readyz")
	switch {
	case ctx.Err() != nil: // what is said from now on, is said after the fault
		return
	case err != nil:
		e.note("no answer")
	case code == http.StatusServiceUnavailable:
		e.note("503")
	}
	var status struct {
		Alarms []struct{ Alarm, Severity string }
	}
	_, body, err := get(i.http, "/status")
	if err != nil || ctx.Err() != nil || json.Unmarshal([]byte(body), &status) != nil {
		return
	}
	for _, alarm := range status.Alarms {
		if alarm.Severity != "info" { // worth knowing, and not that something is wrong
			e.note("`" + alarm.Alarm + "`")
		}
	}
}

func (e *ear) note(what string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.heard[what] = true
}

func (e *ear) String() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return strings.Join(slices.Sorted(maps.Keys(e.heard)), ", ")
}
