package oona

import (
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona/deadletter"
	"github.com/esper-lite/weatherlight/oona/internal/envelope"
)

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

// identity is what the replay guard knows a message by.
type identity struct {
	space, id string    // empty id: not guarded
	dated     bool      // a request: must carry a fresh issue time, and an id
	control   bool      // must have been stored soon after it was signed
	answer    bool      // the same, within the freshness window of its request
	issued    time.Time // zero: not told
}

func identify(payload proto.Message, env *envelope.Envelope) identity {
	switch m := payload.(type) {
	case *leyline.KernelPrefetchRequest:
		return identity{space: spaceRequest, id: m.GetRequestId(), dated: true, issued: requestIssued(m, env)}
	case *leyline.KernelArtifactReady:
		return identity{space: spaceReady, id: m.GetRequestId(), answer: true, issued: env.SignedAt()}
	case *leyline.KernelArtifactError:
		return identity{space: spaceError, id: m.GetRequestId(), answer: true, issued: env.SignedAt()}
	case *leyline.AdaptationCommand, *leyline.PolicyUpdate, *leyline.EmergencySignal:
		return identity{space: spaceNonce, id: env.Nonce(), control: true, issued: env.SignedAt()}
	}
	if env.Attributes[envelope.Once] != "" {
		return identity{space: spaceNonce, id: env.Nonce()}
	}
	return identity{}
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

// refuse returns the reason a message may not be handled, or "".
func (i identity) refuse(cfg Config, attempt int, published, now time.Time) string {
	if published.After(now) {
		published = now // writers may choose ids: one from the future ages nothing that follows it
	}
	switch {
	case i.control && !i.issued.IsZero() && cfg.ControlWindow > 0 && now.Sub(i.issued) > longMemory:
		// Its mark may be gone, and its id may be one that a writer chose.
		return deadletter.ReasonStale
	case i.control && !i.issued.IsZero():
		// Against the time of storing: a command that waits for its consumer does
		// not age, one that is stored again later does.
		return i.age(cfg.ControlWindow, cfg.ClockSkew, published, published)
	case i.answer && !i.issued.IsZero():
		return i.age(cfg.FreshnessWindow, cfg.ClockSkew, published, published)
	case !i.dated:
		return ""
	case i.id == "":
		return deadletter.ReasonMissingID
	case i.issued.IsZero():
		return deadletter.ReasonStale
	case attempt > 1:
		// Waiting for its retry does not make a request stale.
		return i.age(cfg.FreshnessWindow, cfg.ClockSkew, now, published)
	default:
		return i.age(cfg.FreshnessWindow, cfg.ClockSkew, now, now)
	}
}

// age bounds the issue time both ways: not after latest, and not older than
// window at the time seen.
func (i identity) age(window, skew time.Duration, latest, seen time.Time) string {
	if i.issued.After(latest.Add(skew)) {
		return deadletter.ReasonFuture
	}
	if window > 0 && seen.Sub(i.issued) > window {
		return deadletter.ReasonStale
	}
	return ""
}

// life is how long the mark of the message is kept.
func (i identity) life(cfg Config) time.Duration {
	ages := i.dated || i.answer && !i.issued.IsZero()
	if !ages || cfg.FreshnessWindow <= 0 {
		return longMemory
	}
	// As long as freshness would let the same message in again.
	return cfg.FreshnessWindow + cfg.ClockSkew
}

// mark is the Redis key that remembers which entry a request id was answered
// for, within one group.
func (i identity) mark(group string) string {
	if i.id == "" {
		return ""
	}
	return "oona:replay:" + group + ":" + i.space + ":" + i.id
}

// answered remembers the marks this process set: at least the last capacity of
// them. It refuses replays even when Redis has lost its memory.
type answered struct {
	capacity int

	mu            sync.Mutex
	recent, older map[string]string // mark -> entry id; a full generation makes room by ending the one before
}

func newAnswered(capacity int) *answered {
	return &answered{capacity: max(capacity, 1), recent: make(map[string]string), older: make(map[string]string)}
}

// remember notes the marks of those outcomes that were done.
func (a *answered) remember(batch []outcome, results []int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, o := range batch {
		if o.mark == "" || o.refusal != nil || results[i] != commitDone {
			continue
		}
		if len(a.recent) >= a.capacity {
			clear(a.older)
			a.recent, a.older = a.older, a.recent
		}
		a.recent[o.mark] = o.id
	}
}

// refuse refuses the jobs whose marks were set for other entries.
func (a *answered) refuse(jobs []*job) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, j := range jobs {
		if j.mark == "" || j.refusal != nil {
			continue
		}
		if holder := a.by(j.mark); holder != "" && holder != j.id {
			j.refuseReplay(holder)
		}
	}
}

// by returns the entry a mark was set for, or "".
func (a *answered) by(mark string) string {
	if holder, known := a.recent[mark]; known {
		return holder
	}
	return a.older[mark]
}
