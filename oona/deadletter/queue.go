package deadletter

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/rueidis"
	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona/internal/entry"
	"github.com/esper-lite/weatherlight/oona/internal/envelope"
	"github.com/esper-lite/weatherlight/oona/internal/redis"
)

// What an operator of the dead letters may act on.
var (
	// ErrNotFound: there is no dead letter of that id (any more).
	ErrNotFound = errors.New("no such dead letter")
	// ErrReplayed: the dead letter was replayed before; once is enough.
	ErrReplayed = errors.New("dead letter was replayed before")
	// ErrNotReplayable: what the dead letter holds cannot be trusted or read, and
	// our signature would launder it.
	ErrNotReplayable = errors.New("dead letter cannot be replayed")
)

// Config is what a Queue needs.
type Config struct {
	Conn      *redis.Conn
	Stream    string          // of the dead letters
	MaxLength string          // of any stream, in entries
	Sealer    envelope.Sealer // of replays
	// Carries says whether messages of a type may lie on a stream, Home on which they do unless
	// their sender says otherwise.
	Carries func(stream string, kind leyline.BusMessageType) bool
	Home    func(kind leyline.BusMessageType) string
}

// Queue is the dead letters of a bus. It is safe for concurrent use.
type Queue struct{ cfg Config }

// New is the queue of a bus.
func New(cfg Config) *Queue { return &Queue{cfg} }

// Letter is one refused or exhausted entry. Entries of prototype peers have
// nothing but payload and signature.
type Letter struct {
	ID        string // on the dead-letter stream
	Stream    string // where it came from
	EntryID   string // its id there
	Group     string // the group that gave it up
	Reason    string // one of the Reason constants
	Error     string
	Attempts  int
	Time      time.Time // when it was given up, by the clock of the consumer
	Payload   []byte    // the envelope as received, at most MaxPayload bytes
	Signature string
	Replayed  string // entry id of its replay, "" when it was not replayed
}

// Type is the type of the message that the dead letter holds, as its envelope
// says.
func (l Letter) Type() (leyline.BusMessageType, error) {
	env, err := envelope.Decode(l.Payload, string(l.Payload))
	return env.Kind, err
}

// Message decodes what the dead letter holds, without judging its signature.
func (l Letter) Message() (proto.Message, map[string]string, error) {
	env, err := envelope.Decode(l.Payload, string(l.Payload))
	if err != nil {
		return nil, nil, err
	}
	message := leyline.NewMessage(env.Kind)
	if message == nil {
		return nil, env.All(), fmt.Errorf("%w: type %s", envelope.ErrNotPublishable, env.Kind)
	}
	if err := proto.Unmarshal(env.Payload, message); err != nil {
		return nil, env.All(), fmt.Errorf("decode %s: %w", env.Kind, err)
	}
	return message, env.All(), nil
}

// List returns up to limit dead letters that follow the id after ("" = from
// the oldest), oldest first. The next page follows the last id of this one; nothing follows
// what is no id, which is ErrNotFound.
func (q *Queue) List(ctx context.Context, after string, limit int) ([]Letter, error) {
	start := "-"
	if after != "" {
		if _, err := entry.ParseID(after); err != nil {
			return nil, noID(after)
		}
		start = "(" + after
	}
	return q.letters(ctx, start, "+", max(limit, 1))
}

// Get returns one dead letter, or ErrNotFound.
func (q *Queue) Get(ctx context.Context, id string) (Letter, error) {
	if _, err := entry.ParseID(id); err != nil {
		return Letter{}, noID(id)
	}
	found, err := q.letters(ctx, id, id, 1)
	if err != nil {
		return Letter{}, err
	}
	if len(found) == 0 {
		return Letter{}, fmt.Errorf("%w: %s", ErrNotFound, id)
	}
	return found[0], nil
}

func noID(text string) error {
	return fmt.Errorf("%w: %q is no id, which looks like 1767323045000-0", ErrNotFound, text)
}

func (q *Queue) letters(ctx context.Context, start, end string, limit int) ([]Letter, error) {
	ctx, cancel := context.WithTimeout(ctx, q.cfg.Conn.Timeout)
	defer cancel()
	command := q.cfg.Conn.B().Xrange().Key(q.cfg.Stream).Start(start).End(end).Count(int64(limit)).Build()
	entries, err := q.cfg.Conn.Do(ctx, command).AsXRange()
	if err != nil && !rueidis.IsRedisNil(err) {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	if len(entries) == 0 {
		return nil, nil
	}
	letters, ids := make([]Letter, len(entries)), make([]string, len(entries))
	for i, e := range entries {
		letters[i], ids[i] = parse(e), e.ID
	}
	marks, err := q.cfg.Conn.Do(ctx, q.cfg.Conn.B().Hmget().Key(q.ReplayedKey()).Field(ids...).Build()).ToArray()
	if err != nil || len(marks) != len(letters) {
		return nil, fmt.Errorf("list replayed dead letters: %w", err)
	}
	for i := range letters {
		letters[i].Replayed = redis.Text(&marks[i])
	}
	return letters, nil
}

// ReplayedKey is the hash of dead letters that were replayed: their id to the
// id of the replay.
func (q *Queue) ReplayedKey() string { return q.cfg.Stream + ":replayed" }

func parse(e rueidis.XRangeEntry) Letter {
	f := e.FieldValues
	letter := Letter{ID: e.ID, Stream: f["origin_stream"], EntryID: f["entry_id"], Group: f["group"],
		Reason: f["reason"], Error: f["error"], Payload: []byte(f[entry.Payload]), Signature: f[entry.Signature]}
	letter.Attempts, _ = strconv.Atoi(f["attempts"]) // 0 when a peer did not tell
	if ms, err := strconv.ParseInt(f["time"], 10, 64); err == nil {
		letter.Time = time.UnixMilli(ms)
	} else if id, err := entry.ParseID(e.ID); err == nil { // a peer that does not tell: by the clock of the server
		letter.Time = time.UnixMilli(int64(id.MS))
	}
	return letter
}

// Purge removes dead letters by id and returns how many there were.
func (q *Queue) Purge(ctx context.Context, ids ...string) (int64, error) {
	if len(ids) == 0 {
		return 0, nil
	}
	ctx, cancel := context.WithTimeout(ctx, q.cfg.Conn.Timeout)
	defer cancel()
	replies := q.cfg.Conn.DoMulti(ctx, q.cfg.Conn.B().Xdel().Key(q.cfg.Stream).Id(ids...).Build(),
		q.cfg.Conn.B().Hdel().Key(q.ReplayedKey()).Field(ids...).Build())
	n, err := replies[0].AsInt64()
	if err = errors.Join(err, replies[1].Error()); err != nil {
		return n, fmt.Errorf("purge dead letters: %w", err)
	}
	return n, nil
}

// PurgeBefore removes every dead letter that was stored before a
// time, and returns how many there were.
func (q *Queue) PurgeBefore(ctx context.Context, before time.Time) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, q.cfg.Conn.Timeout)
	defer cancel()
	keep := entry.ID{MS: uint64(max(0, before.UnixMilli()))}
	command := q.cfg.Conn.B().Xtrim().Key(q.cfg.Stream).Minid().Exact().Threshold(keep.String()).Build()
	n, err := q.cfg.Conn.Do(ctx, command).AsInt64()
	if err != nil {
		return 0, fmt.Errorf("purge dead letters: %w", err)
	}
	return n, q.forgetReplayed(ctx, keep)
}

// forgetReplayed drops the notes on replays of dead letters that are gone.
func (q *Queue) forgetReplayed(ctx context.Context, keep entry.ID) error {
	noted, err := q.cfg.Conn.Do(ctx, q.cfg.Conn.B().Hkeys().Key(q.ReplayedKey()).Build()).AsStrSlice()
	if err != nil {
		return fmt.Errorf("list replayed dead letters: %w", err)
	}
	var gone []string
	for _, id := range noted {
		if parsed, err := entry.ParseID(id); err != nil || parsed != keep && parsed.Min(keep) == parsed {
			gone = append(gone, id)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	if err := q.cfg.Conn.Do(ctx, q.cfg.Conn.B().Hdel().Key(q.ReplayedKey()).Field(gone...).Build()).Error(); err != nil {
		return fmt.Errorf("forget replayed dead letters: %w", err)
	}
	return nil
}
