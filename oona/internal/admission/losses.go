package admission

import (
	"context"
	_ "embed"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/esper-lite/weatherlight/oona/internal/redis"
)

//go:embed losses.lua
var lossesSource string

var lossesScript = rueidis.NewLuaScript(lossesSource)

// lossNotice is how often a loss on one stream is told in the log.
const lossNotice = time.Minute

// beginning is the place of a group that has read nothing.
const beginning = "0-0"

// placed reports whether the server knows how much a group has read: after a replay of
// its log it has forgotten, until the group reads again.
func placed(g redis.GroupInfo) bool { return g.HasRead || g.LastDelivered == beginning }

// trimLosses knows what the bound of a stream removed before a live group had read
// it. The count is kept in Redis, beside the stream, so that all processes tell
// the same and none tells a loss again; here is what was last heard of it, by
// which most inspections can be told to be of no news.
type trimLosses struct {
	log *slog.Logger

	mu     sync.Mutex
	places map[groupKey]place
	added  map[string]int64 // entries ever added to a stream, at the last inspection
	told   map[notice]time.Time
}

type groupKey struct{ stream, group string }

// notice is one kind of log line about one stream.
type notice struct{ stream, what string }

// place is what is known of one group.
type place struct {
	unseen  int64 // entries it never saw
	hasRead bool
}

func newTrimLosses(log *slog.Logger) *trimLosses {
	return &trimLosses{log: log, places: make(map[groupKey]place), added: make(map[string]int64), told: make(map[notice]time.Time)}
}

// LossesKey is the hash with the counts of a stream, on the same node of a cluster;
// its field total is what no group can handle any more.
func LossesKey(stream string) string {
	if strings.Contains(stream, "{") {
		return "oona:losses:" + stream
	}
	return "oona:losses:{" + stream + "}"
}

// inspect takes notice of a stream and its groups: from the server's count it can
// tell whether there is news.
func (l *trimLosses) inspect(ctx context.Context, conn *redis.Conn, stream string, s redis.StreamInfo, groups []redis.GroupInfo) error {
	if s.Added == 0 || !slices.ContainsFunc(groups, func(g redis.GroupInfo) bool { return l.isNews(stream, s, g) }) {
		return nil // or the server does not count
	}
	silence := strconv.FormatInt(deadAfter.Milliseconds(), 10)
	rows, err := lossesScript.Exec(ctx, conn, []string{stream, LossesKey(stream)}, []string{silence}).ToArray()
	if err != nil {
		return fmt.Errorf("count losses of %s: %w", stream, err)
	}
	for row := range slices.Chunk(rows, 3) {
		if len(row) < 3 {
			return fmt.Errorf("count losses of %s: %d fields in the answer", stream, len(rows))
		}
		group, _ := row[0].ToString()
		unseen, _ := row[1].AsInt64()
		lost, _ := row[2].AsInt64()
		l.learn(groupKey{stream, group}, unseen, groups)
		if lost > 0 {
			l.tell("the bound of the stream removed unread entries", groupKey{stream, group}, lost, time.Now())
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.added[stream] = s.Added
	maps.DeleteFunc(l.places, func(key groupKey, _ place) bool {
		return key.stream == stream && !slices.ContainsFunc(groups, func(g redis.GroupInfo) bool { return g.Name == key.group })
	})
	return nil
}

// forget drops what is known of a stream that nothing is published to any more.
func (l *trimLosses) forget(stream string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.added, stream)
	maps.DeleteFunc(l.places, func(key groupKey, _ place) bool { return key.stream == stream })
	maps.DeleteFunc(l.told, func(key notice, _ time.Time) bool { return key.stream == stream })
}

func (l *trimLosses) learn(key groupKey, unseen int64, groups []redis.GroupInfo) {
	at := slices.IndexFunc(groups, func(g redis.GroupInfo) bool { return g.Name == key.group })
	l.mu.Lock()
	defer l.mu.Unlock()
	l.places[key] = place{unseen: unseen, hasRead: at >= 0 && groups[at].HasRead}
}

// isNews reports whether the counts may have to be changed for a group: it is a
// new one, entries are gone that it had not reached, or it has read to the end
// and Redis thinks otherwise.
func (l *trimLosses) isNews(stream string, s redis.StreamInfo, g redis.GroupInfo) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	known, met := l.places[groupKey{stream, g.Name}]
	if !met || known.hasRead != g.HasRead || s.Added < l.added[stream] {
		return true
	}
	if !placed(g) {
		return false
	}
	reached := g.Read + known.unseen
	return s.Added-s.Length > reached || s.LastID == g.LastDelivered && s.Added > reached
}

// lag is how many entries a group really has to read.
func (l *trimLosses) lag(stream string, s redis.StreamInfo, g redis.GroupInfo) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	behind := s.Added - g.Read - l.places[groupKey{stream, g.Name}].unseen
	return min(max(0, behind), s.Length)
}

// add counts entries that a group had begun, and that were removed before it could
// finish them.
func (l *trimLosses) add(ctx context.Context, conn *redis.Conn, key groupKey, n int) error {
	count := conn.B().Hincrby().Key(LossesKey(key.stream)).Field("total").Increment(int64(n)).Build()
	if err := conn.Do(ctx, count).Error(); err != nil {
		return fmt.Errorf("count losses of %s: %w", key.stream, err)
	}
	l.tell("entries were removed from the stream before they were finished", key, int64(n), time.Now())
	return nil
}

func (l *trimLosses) tell(what string, key groupKey, n int64, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	notice := notice{key.stream, what}
	if now.Sub(l.told[notice]) >= lossNotice {
		l.told[notice] = now
		l.log.Error(what, "stream", key.stream, "group", key.group, "entries", n)
	}
}
