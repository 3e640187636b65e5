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

// longMemory is how long a handled message is remembered whose age says nothing,
// or that must never take effect again: control messages, and answers of
// prototype peers, which do not tell when they were signed. Both are few.
const longMemory = 24 * time.Hour

// Identity is what the replay guard knows a message by.
type Identity struct {
	Space, ID string    // empty ID: not guarded
	dated     bool      // a request: must carry a fresh issue time, and an id
	control   bool      // must have been stored soon after it was signed
	answer    bool      // the same, within the freshness window of its request
	Issued    time.Time // zero: not told
}

// Identify says what the guard is to know a message by.
func Identify(payload proto.Message, env *envelope.Envelope) Identity {
	switch m := payload.(type) {
	case *leyline.KernelPrefetchRequest:
		return Identity{Space: spaceRequest, ID: m.GetRequestId(), dated: true, Issued: requestIssued(m, env)}
	case *leyline.KernelArtifactReady:
		return Identity{Space: spaceReady, ID: m.GetRequestId(), answer: true, Issued: env.SignedAt()}
	case *leyline.KernelArtifactError:
		return Identity{Space: spaceError, ID: m.GetRequestId(), answer: true, Issued: env.SignedAt()}
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
	return at.judge(i.Issued, stored, func(issued, published, now time.Time) string {
		dated := i
		dated.Issued = issued
		return dated.refuse(w, published, now)
	})
}

func (i Identity) refuse(w Windows, published, now time.Time) string {
	switch {
	case i.control && !i.Issued.IsZero() && w.Control > 0 && now.Sub(i.Issued) > longMemory:
		// Its mark may be gone, and its id may be one that a writer chose.
		return deadletter.ReasonStale
	case i.control && !i.Issued.IsZero():
		// Against the time of storing: a command that waits for its consumer does
		// not age, one that is stored again later does.
		return i.age(w.Control, w.Skew, published, published)
	case i.answer && !i.Issued.IsZero():
		return i.age(w.Freshness, w.Skew, published, published)
	case !i.dated:
		return ""
	case i.ID == "":
		return deadletter.ReasonMissingID
	case i.Issued.IsZero():
		return deadletter.ReasonStale
	default:
		// Waiting for whoever answers it does not make a request stale.
		return i.age(w.Freshness, w.Skew, now, published)
	}
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

// Life is how long the mark of the message is kept.
func (i Identity) Life(w Windows) time.Duration {
	ages := i.dated || i.answer && !i.Issued.IsZero()
	if !ages || w.Freshness <= 0 {
		return longMemory
	}
	// As long as freshness would let the same message in again.
	return w.Freshness + w.Skew
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
