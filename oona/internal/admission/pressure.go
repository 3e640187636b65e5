package admission

import (
	"cmp"
	"context"
	_ "embed"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona/internal/entry"
	"github.com/esper-lite/weatherlight/oona/internal/redis"
)

const (
	sampleEvery   = time.Second            // how old a sample may be while there is room
	resampleEvery = 5 * time.Millisecond   // and while there seems to be none
	sampleTimeout = 500 * time.Millisecond // a slow bus must not hold up admission
	deadAfter     = 5 * time.Minute        // silence of all its consumers after which a group exerts no pressure
	blindFor      = 5 * time.Minute        // what an access list keeps from us is not asked for again
)

// admissionShare is the part of a stream's bound up to which a priority is
// admitted.
func admissionShare(p leyline.MessagePriority) float64 {
	switch p {
	case leyline.MessagePriority_MESSAGE_PRIORITY_LOW:
		return 0.50
	case leyline.MessagePriority_MESSAGE_PRIORITY_HIGH:
		return 0.85
	case leyline.MessagePriority_MESSAGE_PRIORITY_CRITICAL:
		return 0.95
	default:
		return 0.75
	}
}

// sampler knows how far the slowest live group of each stream is behind,
// from samples and from what this process has added since.
type sampler struct {
	conn      *redis.Conn
	bound     int64
	boundText string
	mode      *conservative
	losses    *trimLosses
	down      func() bool // the bus is known to be away, and not asked
	// strainBound is what conservative mode takes for a full stream.
	strainBound int64

	mu      sync.Mutex
	streams map[string]*streamLoad
	life    map[groupKey]life
}

type streamLoad struct {
	mu       sync.Mutex
	backlog  int64  // at the last sample
	slowest  string // the group that is so far behind, "" when none is
	added    int64  // since then, by us
	sampled  time.Time
	sampling bool
	blind    time.Time // until when nothing is known, and nobody turned away
}

func newSampler(cfg Config, mode *conservative, down func() bool) *sampler {
	l := &sampler{conn: cfg.Conn, bound: cfg.MaxLength, mode: mode, down: down,
		losses: newTrimLosses(cfg.Logger), streams: make(map[string]*streamLoad), life: make(map[groupKey]life)}
	l.boundText = strconv.FormatInt(l.bound, 10)
	l.strainBound = cmp.Or(max(cfg.Strain, 0), l.bound)
	return l
}

// admit reports whether a message of this priority has room on the stream.
func (l *sampler) admit(ctx context.Context, stream string, p leyline.MessagePriority) bool {
	limit := max(1, int64(admissionShare(p)*float64(l.bound)))
	load := l.of(stream)
	load.mu.Lock()
	defer load.mu.Unlock()
	if !load.blind.IsZero() && time.Now().Before(load.blind) {
		return true
	}
	age := time.Since(load.sampled)
	// What this process added may long have been read: that takes a look at
	// once. A backlog that was there at the last look is not asked for again by
	// every refused message.
	full, crowded := load.backlog >= limit, load.backlog+load.added >= limit
	if !load.sampling && (age >= sampleEvery || crowded && (!full || age >= resampleEvery)) && !l.down() {
		l.refresh(ctx, stream, load)
	}
	if load.backlog+load.added >= limit {
		return false
	}
	load.added++
	return true
}

// measure samples a stream now.
func (l *sampler) measure(ctx context.Context, stream string) (backlog int64, slowest string) {
	load := l.of(stream)
	load.mu.Lock()
	defer load.mu.Unlock()
	if !load.sampling {
		l.refresh(ctx, stream, load)
	}
	return load.backlog, load.slowest
}

func (l *sampler) of(stream string) *streamLoad {
	l.mu.Lock()
	defer l.mu.Unlock()
	load := l.streams[stream]
	if load == nil {
		l.forgetIdle(time.Now())
		load = &streamLoad{}
		l.streams[stream] = load
	}
	return load
}

// forgetIdle drops the streams that were not used for long, such as the private
// ones of peers that are gone: their number has no bound.
func (l *sampler) forgetIdle(now time.Time) {
	for stream, load := range l.streams {
		if !load.mu.TryLock() {
			continue // it is in use
		}
		if !load.sampling && !load.sampled.IsZero() && now.Sub(load.sampled) > deadAfter {
			delete(l.streams, stream)
			l.losses.forget(stream)
			maps.DeleteFunc(l.life, func(key groupKey, _ life) bool { return key.stream == stream })
		}
		load.mu.Unlock()
	}
}

// refresh samples with load.mu released, so that others go by the old figure
// meanwhile. A server that does not answer in time says nothing: what was
// behind still is, as far as anybody knows. One that refuses to tell counts as
// one of an empty stream, or whoever may only publish would be shut out.
func (l *sampler) refresh(ctx context.Context, stream string, load *streamLoad) {
	load.sampling = true
	load.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, sampleTimeout)
	slowest, backlog, err := l.sample(ctx, stream)
	cancel()
	answered := err == nil || redis.IsReply(err)
	load.mu.Lock()
	load.sampling, load.sampled = false, time.Now()
	if redis.HasCode(err, "NOPERM") {
		load.blind = load.sampled.Add(blindFor)
	}
	if answered {
		load.backlog, load.slowest, load.added = backlog, slowest, 0
		l.mode.strained(stream, backlog, l.strainBound, load.sampled)
	}
}

// sample returns the slowest live group and its backlog, 0 when it fails. A connection
// may run out of time before its context has: whether the server answered, only the
// error tells.
func (l *sampler) sample(ctx context.Context, stream string) (slowest string, backlog int64, err error) {
	info, groups, err := l.conn.Inspect(ctx, stream)
	if err != nil {
		return "", 0, err
	}
	if err := l.losses.inspect(ctx, l.conn, stream, info, groups); err != nil {
		return "", 0, err
	}
	for _, g := range groups {
		lag, err := l.lag(ctx, stream, info, g)
		if err != nil {
			return "", 0, err
		}
		if behind := g.Pending + lag; behind > backlog {
			alive, err := l.alive(ctx, stream, g.Name)
			if err != nil {
				return "", 0, err
			}
			if alive {
				slowest, backlog = g.Name, behind
			}
		}
	}
	return slowest, backlog, nil
}

// alive tells a group that is read from one that was abandoned, or that a peer
// created on every stream and never reads: its backlog only ever grows to the
// bound of the stream, and must not shut out the publishers for good.
func (l *sampler) alive(ctx context.Context, stream, group string) (bool, error) {
	consumers, err := l.conn.Consumers(ctx, stream, group)
	if err != nil && !redis.IsReply(err) {
		return false, err
	}
	if len(consumers) == 0 {
		return false, nil
	}
	idle := slices.MinFunc(consumers, func(a, b redis.ConsumerInfo) int { return cmp.Compare(a.Idle, b.Idle) }).Idle
	l.mu.Lock()
	defer l.mu.Unlock()
	known := l.life[groupKey{stream, group}]
	next := known.look(idle, time.Now())
	l.life[groupKey{stream, group}] = next
	return !next.dead, nil
}

// life is what is known of a group's reading.
type life struct {
	last    time.Time // when it last tried anything
	stirred time.Time // when it was seen to, since it was dead
	dead    bool
}

// look takes in how long a group has been silent. A server that was restarted has
// forgotten that, and says that all have just tried something: who was dead must stir
// twice to be taken for alive.
func (l life) look(idle time.Duration, now time.Time) life {
	last := now.Add(-idle)
	stirs := l.dead && last.Sub(l.last) > time.Second
	switch {
	case !l.dead:
		l.dead = idle >= deadAfter
	case stirs && !l.stirred.IsZero() && now.Sub(l.stirred) < deadAfter:
		l.dead, l.stirred = false, time.Time{}
	case stirs:
		l.stirred = now
	}
	l.last = last
	return l
}

//go:embed lag.lua
var lagSource string

var lagScript = rueidis.NewLuaScript(lagSource)

// Redis serves nobody else while a script runs, and a script loads whole entries:
// so it counts no more than about these, a matter of two milliseconds.
const (
	countedEntries = 1000
	countedBytes   = 200_000
)

// lag is how far a group is behind. The server knows unless entries were deleted.
func (l *sampler) lag(ctx context.Context, stream string, info redis.StreamInfo, g redis.GroupInfo) (int64, error) {
	switch {
	case info.Added > 0 && placed(g):
		return l.losses.lag(stream, info, g), nil
	case g.LastDelivered == info.LastID:
		return 0, nil
	}
	entries, bytes := l.boundText, "0"
	if info.LastID != "" {
		entries, bytes = strconv.Itoa(countedEntries), strconv.Itoa(countedBytes)
	}
	reply, err := lagScript.Exec(ctx, l.conn, []string{stream}, []string{g.LastDelivered, entries, bytes}).AsIntSlice()
	if err != nil && !redis.IsReply(err) {
		return 0, err
	}
	if err != nil || len(reply) != 2 {
		return 0, nil
	}
	if counted, complete := reply[0], reply[1] == 1; complete {
		return counted, nil
	}
	return max(reply[0], share(info, g.LastDelivered)), nil
}

// share estimates how many entries lie behind an id, as if they had come at equal
// intervals.
func share(i redis.StreamInfo, id string) int64 {
	first, firstErr := entry.ParseID(i.FirstID)
	last, lastErr := entry.ParseID(i.LastID)
	at, err := entry.ParseID(id)
	if firstErr != nil || lastErr != nil || err != nil || at.MS < first.MS || last.MS <= first.MS {
		return i.Length
	}
	return int64(float64(i.Length) * float64(last.MS-min(at.MS, last.MS)) / float64(last.MS-first.MS))
}
