package verify

import (
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona/deadletter"
	"github.com/esper-lite/weatherlight/oona/internal/envelope"
)

// Windows bound the age of messages.
type Windows struct {
	Control   time.Duration // between signing and storing a control message; <= 0 = any
	Freshness time.Duration // of requests and answers; <= 0 = any
	Skew      time.Duration // how far in the future a message may be dated
}

// Spaces of ids: the same id in two spaces is two messages.
const (
	spaceRequest = "request"
	spaceReady   = "ready"
	spaceError   = "error"
	spaceNonce   = "nonce"
)

// longMemory is the age beyond which a message is stale whenever it was stored: its mark
// may be gone, and the time in its entry's id may be one that a writer chose.
const longMemory = 24 * time.Hour

// MarkLife is how long a handled message is remembered: longer than it could be taken
// for fresh, by more than clocks are apart.
const MarkLife = longMemory + time.Hour

// Identity is what the replay guard knows a message by.
type Identity struct {
	Space, ID string    // empty ID: not guarded
	dated     bool      // a request: must carry a fresh issue time, and an id
	control   bool      // within the window of control messages, not that of requests
	Issued    time.Time // zero: not told
}

// Identify says what the guard is to know a message by.
func Identify(payload proto.Message, env *envelope.Envelope) Identity {
	switch m := payload.(type) {
	case *leyline.KernelPrefetchRequest:
		return Identity{Space: spaceRequest, ID: m.GetRequestId(), dated: true, Issued: requestIssued(m, env)}
	case *leyline.KernelArtifactReady:
		return Identity{Space: spaceReady, ID: m.GetRequestId(), Issued: env.SignedAt()}
	case *leyline.KernelArtifactError:
		return Identity{Space: spaceError, ID: m.GetRequestId(), Issued: env.SignedAt()}
	case *leyline.AdaptationCommand, *leyline.PolicyUpdate, *leyline.EmergencySignal:
		return Identity{Space: spaceNonce, ID: env.Nonce(), control: true, Issued: env.SignedAt()}
	}
	if env.Attributes[envelope.Once] != "" {
		return Identity{Space: spaceNonce, ID: env.Nonce()}
	}
	return Identity{}
}

// requestIssued dates a request. The replay of a dead letter is as old as the
// decision to replay it.
func requestIssued(m *leyline.KernelPrefetchRequest, env *envelope.Envelope) time.Time {
	if env.Attributes[envelope.ReplayedOf] != "" {
		return env.SignedAt()
	}
	if issued := m.GetIssuedAt(); issued.GetSeconds() != 0 || issued.GetNanos() != 0 {
		return issued.AsTime()
	}
	return time.Time{}
}

// Refuse returns the reason a message may not be handled that was stored at the
// time in its entry's id, or "".
func (i Identity) Refuse(w Windows, stored time.Time, at Times) string {
	if !i.dated && i.Issued.IsZero() {
		return "" // as most messages
	}
	return at.judge(i.Issued, stored, func(issued, published, now time.Time) string {
		dated := i
		dated.Issued = issued
		return dated.refuse(w, published, now)
	})
}

func (i Identity) refuse(w Windows, published, now time.Time) string {
	window, latest := w.Freshness, published
	if i.control {
		window = w.Control
	}
	if i.dated {
		latest = now
	}
	switch {
	case i.dated && i.ID == "":
		return deadletter.ReasonMissingID
	case i.dated && i.Issued.IsZero():
		return deadletter.ReasonStale
	case window > 0 && now.Sub(i.Issued) > longMemory:
		return deadletter.ReasonStale
	}
	// Against the time of storing: what waits for its consumer does not age, what is
	// stored again later does.
	return i.age(window, w.Skew, latest, published)
}

// SoonStored returns the reason a command may not be followed that was signed at one
// time and stored at another, or "".
func (w Windows) SoonStored(signed, stored time.Time, at Times) string {
	return at.judge(signed, stored, func(issued, published, _ time.Time) string {
		return Identity{Issued: issued}.age(w.Control, w.Skew, published, published)
	})
}

// age bounds the issue time both ways: not after latest, and not older than
// window at the time seen.
func (i Identity) age(window, skew time.Duration, latest, seen time.Time) string {
	if i.Issued.After(latest.Add(skew)) {
		return deadletter.ReasonFuture
	}
	if window > 0 && seen.Sub(i.Issued) > window {
		return deadletter.ReasonStale
	}
	return ""
}

// Mark is the Redis key that remembers which entry a request id was answered
// for, within one group.
func (i Identity) Mark(group string) string {
	if i.ID == "" {
		return ""
	}
	return "oona:replay:" + group + ":" + i.Space + ":" + i.ID
}

// Recent remembers marks that this process has set: at least the last capacity of
// them. It refuses replays even when Redis has lost its memory. It is safe for
// concurrent use.
type Recent struct {
	capacity int

	mu            sync.Mutex
	recent, older map[string]string // mark -> entry id; a full generation makes room by ending the one before
}

// NewRecent remembers nothing yet.
func NewRecent(capacity int) *Recent {
	return &Recent{capacity: max(capacity, 1), recent: make(map[string]string), older: make(map[string]string)}
}

// Update remembers, for a whole batch at once, the entries that marks were set for.
func (r *Recent) Update(change func(remember func(mark, id string))) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(r.remember)
}

func (r *Recent) remember(mark, id string) {
	if len(r.recent) >= r.capacity {
		clear(r.older)
		r.recent, r.older = r.older, r.recent
	}
	r.recent[mark] = id
}

// View looks up, for a whole batch at once, the entries that marks were set for: ""
// for one that is not remembered.
func (r *Recent) View(look func(holder func(mark string) string)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	look(r.holder)
}

func (r *Recent) holder(mark string) string {
	if holder, known := r.recent[mark]; known {
		return holder
	}
	return r.older[mark]
}
