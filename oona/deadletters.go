package oona

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
)

// What an operator of the dead letters may act on.
var (
	// ErrNoDeadLetter: there is no dead letter of that id (any more).
	ErrNoDeadLetter = errors.New("no such dead letter")
	// ErrReplayed: the dead letter was replayed before; once is enough.
	ErrReplayed = errors.New("dead letter was replayed before")
	// ErrNotReplayable: what the dead letter holds cannot be trusted or read, and
	// our signature would launder it.
	ErrNotReplayable = errors.New("dead letter cannot be replayed")
)

// DeadLetter is one refused or exhausted entry. Entries of prototype peers have
// nothing but payload and signature.
type DeadLetter struct {
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
func (d DeadLetter) Type() (leyline.BusMessageType, error) {
	env, err := decodeEnvelope(d.Payload, string(d.Payload))
	return env.kind, err
}

// Message decodes what the dead letter holds, without judging its signature.
func (d DeadLetter) Message() (proto.Message, map[string]string, error) {
	env, err := decodeEnvelope(d.Payload, string(d.Payload))
	if err != nil {
		return nil, nil, err
	}
	message := leyline.NewMessage(env.kind)
	if message == nil {
		return nil, env.all(), fmt.Errorf("%w: type %s", ErrNotPublishable, env.kind)
	}
	if err := proto.Unmarshal(env.payload, message); err != nil {
		return nil, env.all(), fmt.Errorf("decode %s: %w", env.kind, err)
	}
	return message, env.all(), nil
}

// DeadLetters lists up to limit dead letters that follow the id after ("" = from
// the oldest), oldest first. The next page follows the last id of this one.
func (c *Client) DeadLetters(ctx context.Context, after string, limit int) ([]DeadLetter, error) {
	start := "-"
	if after != "" {
		start = "(" + after
	}
	return c.deadLetters(ctx, start, "+", max(limit, 1))
}

// DeadLetter returns one dead letter, or ErrNoDeadLetter.
func (c *Client) DeadLetter(ctx context.Context, id string) (DeadLetter, error) {
	if _, err := entry.ParseID(id); err != nil {
		return DeadLetter{}, fmt.Errorf("%w: %w", ErrNoDeadLetter, err)
	}
	found, err := c.deadLetters(ctx, id, id, 1)
	if err != nil {
		return DeadLetter{}, err
	}
	if len(found) == 0 {
		return DeadLetter{}, fmt.Errorf("%w: %s", ErrNoDeadLetter, id)
	}
	return found[0], nil
}

func (c *Client) deadLetters(ctx context.Context, start, end string, limit int) ([]DeadLetter, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.DialTimeout)
	defer cancel()
	command := c.conn.B().Xrange().Key(c.cfg.DeadLetter).Start(start).End(end).Count(int64(limit)).Build()
	entries, err := c.conn.Do(ctx, command).AsXRange()
	if err != nil && !rueidis.IsRedisNil(err) {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	if len(entries) == 0 {
		return nil, nil
	}
	letters, ids := make([]DeadLetter, len(entries)), make([]string, len(entries))
	for i, e := range entries {
		letters[i], ids[i] = parseDeadLetter(e), e.ID
	}
	marks, err := c.conn.Do(ctx, c.conn.B().Hmget().Key(c.replayedKey()).Field(ids...).Build()).ToArray()
	if err != nil || len(marks) != len(letters) {
		return nil, fmt.Errorf("list replayed dead letters: %w", err)
	}
	for i := range letters {
		letters[i].Replayed, _ = marks[i].ToString()
	}
	return letters, nil
}

// replayedKey is the hash of dead letters that were replayed: their id to the
// id of the replay.
func (c *Client) replayedKey() string { return c.cfg.DeadLetter + ":replayed" }

func parseDeadLetter(e rueidis.XRangeEntry) DeadLetter {
	f := e.FieldValues
	letter := DeadLetter{ID: e.ID, Stream: f["origin_stream"], EntryID: f["entry_id"], Group: f["group"],
		Reason: f["reason"], Error: f["error"], Payload: []byte(f[entry.Payload]), Signature: f[entry.Signature]}
	letter.Attempts, _ = strconv.Atoi(f["attempts"]) // 0 when a peer did not tell
	if ms, err := strconv.ParseInt(f["time"], 10, 64); err == nil {
		letter.Time = time.UnixMilli(ms)
	}
	return letter
}

// PurgeDeadLetters removes dead letters by id and returns how many there were.
func (c *Client) PurgeDeadLetters(ctx context.Context, ids ...string) (int64, error) {
	if len(ids) == 0 {
		return 0, nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.DialTimeout)
	defer cancel()
	replies := c.conn.DoMulti(ctx, c.conn.B().Xdel().Key(c.cfg.DeadLetter).Id(ids...).Build(),
		c.conn.B().Hdel().Key(c.replayedKey()).Field(ids...).Build())
	n, err := replies[0].AsInt64()
	if err = errors.Join(err, replies[1].Error()); err != nil {
		return n, fmt.Errorf("purge dead letters: %w", err)
	}
	return n, nil
}

// PurgeDeadLettersBefore removes every dead letter that was stored before a
// time, and returns how many there were.
func (c *Client) PurgeDeadLettersBefore(ctx context.Context, before time.Time) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.DialTimeout)
	defer cancel()
	keep := entry.ID{MS: uint64(max(0, before.UnixMilli()))}
	command := c.conn.B().Xtrim().Key(c.cfg.DeadLetter).Minid().Exact().Threshold(keep.String()).Build()
	n, err := c.conn.Do(ctx, command).AsInt64()
	if err != nil {
		return 0, fmt.Errorf("purge dead letters: %w", err)
	}
	return n, c.forgetReplayed(ctx, keep)
}

// forgetReplayed drops the notes on replays of dead letters that are gone.
func (c *Client) forgetReplayed(ctx context.Context, keep entry.ID) error {
	noted, err := c.conn.Do(ctx, c.conn.B().Hkeys().Key(c.replayedKey()).Build()).AsStrSlice()
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
	if err := c.conn.Do(ctx, c.conn.B().Hdel().Key(c.replayedKey()).Field(gone...).Build()).Error(); err != nil {
		return fmt.Errorf("forget replayed dead letters: %w", err)
	}
	return nil
}
