package deadletter

import (
	"context"
	_ "embed"
	"fmt"
	"maps"
	"time"

	"github.com/redis/rueidis"

	"github.com/esper-lite/weatherlight/oona/internal/envelope"
	"github.com/esper-lite/weatherlight/oona/internal/redis"
	"github.com/esper-lite/weatherlight/signing"
)

//go:embed replay.lua
var replaySource string

var replayScript = rueidis.NewLuaScript(replaySource)

// Results of the replay script.
const (
	replayGone   = -1
	replayBefore = 0
)

// Replay publishes a dead letter again on its stream, newly signed and
// for the group that gave it up, and returns the id of the new entry. Each dead
// letter is replayed once at most: ErrReplayed comes with the id of the replay.
// Freshness and replay guard take it as new.
func (q *Queue) Replay(ctx context.Context, id string) (string, error) {
	letter, err := q.Get(ctx, id)
	if err != nil {
		return "", err
	}
	if letter.Replayed != "" {
		return letter.Replayed, fmt.Errorf("%w: %s", ErrReplayed, id)
	}
	d, err := q.resign(letter, q.cfg.Conn.Now())
	if err != nil {
		return "", fmt.Errorf("replay dead letter %s: %w", id, err)
	}
	ctx, cancel := context.WithTimeout(ctx, q.cfg.Conn.Timeout)
	defer cancel()
	placed, err := q.storeReplay(ctx, id, d)
	if err != nil {
		return placed, fmt.Errorf("replay dead letter %s: %w", id, err)
	}
	return placed, nil
}

func (q *Queue) storeReplay(ctx context.Context, id string, d envelope.Draft) (string, error) {
	if q.cfg.Conn.Clustered {
		return q.replaySteps(ctx, id, d)
	}
	keys := []string{q.cfg.Stream, q.ReplayedKey(), d.Stream}
	args := []string{id, q.cfg.MaxLength, d.Payload, d.Signature}
	reply, err := replayScript.Exec(ctx, q.cfg.Conn, keys, args).ToArray()
	if err != nil {
		return "", fmt.Errorf("%w: %w", redis.ErrUnavailable, err)
	}
	if len(reply) != 2 {
		return "", fmt.Errorf("%d results, 2 expected", len(reply))
	}
	status, _ := reply[0].AsInt64()
	placed, _ := reply[1].ToString()
	switch status {
	case replayGone:
		return "", ErrNotFound
	case replayBefore:
		return placed, ErrReplayed
	default:
		return placed, nil
	}
}

// Replayable returns why a letter cannot be replayed, or nil.
func (q *Queue) Replayable(letter Letter) error {
	_, _, err := q.trusted(letter)
	return err
}

// resign wraps the payload of a dead letter in a new envelope.
func (q *Queue) resign(letter Letter, now time.Time) (envelope.Draft, error) {
	env, stream, err := q.trusted(letter)
	if err != nil {
		return envelope.Draft{}, err
	}
	content := envelope.Content{Stream: stream, Attributes: replayAttributes(env.Attributes, letter)}
	return q.cfg.Sealer.SealBytes(env.Kind, env.Payload, content, now)
}

// trusted is the envelope of a dead letter and the stream that it belongs on. Only
// what was signed for that very stream is: a replay must not lend our signature
// to a forgery.
func (q *Queue) trusted(letter Letter) (env envelope.Envelope, stream string, err error) {
	if signing.FormOf(letter.Payload) == signing.FormCommand {
		return env, "", fmt.Errorf("%w: it was not signed as an envelope", ErrNotReplayable)
	}
	if err = q.cfg.Sealer.Keyring.VerifyEnvelope(letter.Payload, letter.Signature); err != nil {
		return env, "", fmt.Errorf("%w: %w", ErrNotReplayable, err)
	}
	env, err = envelope.Decode(letter.Payload, string(letter.Payload))
	if err != nil {
		return env, "", fmt.Errorf("%w: %w", ErrNotReplayable, err)
	}
	if letter.Stream == "" { // the prototype does not tell
		letter.Stream = q.cfg.Home(env.Kind)
	}
	if origin, told := env.Origin(); told && origin != letter.Stream {
		return env, "", fmt.Errorf("%w: it was signed for stream %q", ErrNotReplayable, origin)
	}
	if !q.cfg.Carries(letter.Stream, env.Kind) {
		return env, "", fmt.Errorf("%w: type %s never travels on %s", ErrNotReplayable, env.Kind, letter.Stream)
	}
	return env, letter.Stream, nil
}

func replayAttributes(original map[string]string, letter Letter) map[string]string {
	attributes := maps.Clone(original)
	if attributes == nil {
		attributes = make(map[string]string)
	}
	delete(attributes, envelope.Once)
	attributes[envelope.ReplayedOf] = letter.ID
	if letter.Group != "" {
		attributes[envelope.ReplayGroup] = letter.Group
	}
	return attributes
}

// replaySteps stores the replay of a dead letter without a script. The note
// comes first: a crash in between leaves a letter that counts as replayed, and
// that an operator can see has no entry.
func (q *Queue) replaySteps(ctx context.Context, id string, d envelope.Draft) (string, error) {
	note := q.cfg.Conn.B().Hsetnx().Key(q.ReplayedKey()).Field(id).Value("under way").Build()
	first, err := q.cfg.Conn.Do(ctx, note).AsInt64()
	if err != nil {
		return "", fmt.Errorf("%w: %w", redis.ErrUnavailable, err)
	}
	if first == 0 {
		before := q.cfg.Conn.Do(ctx, q.cfg.Conn.B().Hget().Key(q.ReplayedKey()).Field(id).Build())
		return redis.Text(&before), ErrReplayed
	}
	placed, err := q.cfg.Conn.Do(ctx, q.cfg.Conn.Add(d.Stream, q.cfg.MaxLength, d.Payload, d.Signature)).ToString()
	if _, refused := rueidis.IsRedisErr(err); refused {
		_ = q.cfg.Conn.Do(ctx, q.cfg.Conn.B().Hdel().Key(q.ReplayedKey()).Field(id).Build()) // the refusal is what matters
	}
	if err != nil {
		return "", fmt.Errorf("%w: %w", redis.ErrUnavailable, err)
	}
	noted := q.cfg.Conn.B().Hset().Key(q.ReplayedKey()).FieldValue().FieldValue(id, placed).Build()
	if err := q.cfg.Conn.Do(ctx, noted).Error(); err != nil {
		return placed, fmt.Errorf("%w: %w", redis.ErrUnavailable, err)
	}
	return placed, nil
}
