package oona

import (
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/leyline"
)

// Spaces of request ids: the same id in two spaces is two messages.
const (
	spaceRequest = "request"
	spaceReady   = "ready"
	spaceError   = "error"
)

// identity is what the replay guard knows a message by.
type identity struct {
	space, id string // empty id: not guarded
	dated     bool   // must carry a fresh issue time, and an id
	issued    *timestamppb.Timestamp
}

func identify(payload proto.Message) identity {
	switch m := payload.(type) {
	case *leyline.KernelPrefetchRequest:
		return identity{space: spaceRequest, id: m.GetRequestId(), dated: true, issued: m.GetIssuedAt()}
	case *leyline.KernelArtifactReady:
		return identity{space: spaceReady, id: m.GetRequestId()}
	case *leyline.KernelArtifactError:
		return identity{space: spaceError, id: m.GetRequestId()}
	default:
		return identity{}
	}
}

// refuse returns the reason a message may not be handled, or "". The age of a
// redelivery is taken when it was published: waiting for its retry does not
// make it stale.
func (i identity) refuse(cfg Config, attempt int, published, now time.Time) string {
	if !i.dated {
		return ""
	}
	if i.id == "" {
		return ReasonMissingID
	}
	if i.issued.GetSeconds() == 0 && i.issued.GetNanos() == 0 {
		return ReasonStale
	}
	issued := i.issued.AsTime()
	if issued.After(now.Add(cfg.ClockSkew)) {
		return ReasonFuture
	}
	if attempt > 1 {
		now = published
	}
	if cfg.FreshnessWindow > 0 && now.Sub(issued) > cfg.FreshnessWindow {
		return ReasonStale
	}
	return ""
}

// mark is the Redis key that remembers which entry a request id was answered
// for, within one group.
func (i identity) mark(group string) string {
	if i.id == "" {
		return ""
	}
	return "oona:replay:" + group + ":" + i.space + ":" + i.id
}

// markLife is how long a mark is kept: as long as freshness would let the same
// request in again.
func markLife(cfg Config) time.Duration {
	window := cfg.FreshnessWindow
	if window <= 0 {
		window = time.Minute
	}
	return window + cfg.ClockSkew
}

// answered remembers the marks this process set, the oldest forgotten first. It
// refuses replays even when Redis has lost its memory.
type answered struct {
	mu    sync.Mutex
	entry map[string]string // mark -> entry id
	ring  []string
	next  int
}

func newAnswered(capacity int) *answered {
	return &answered{entry: make(map[string]string), ring: make([]string, max(capacity, 1))}
}

func (a *answered) remember(mark, entry string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.entry[mark]; !ok {
		delete(a.entry, a.ring[a.next])
		a.ring[a.next] = mark
		a.next = (a.next + 1) % len(a.ring)
	}
	a.entry[mark] = entry
}

// by returns the entry a mark was set for, or "".
func (a *answered) by(mark string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.entry[mark]
}
