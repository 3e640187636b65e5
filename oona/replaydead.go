package oona

import (
	"context"
	"fmt"
	"maps"
	"time"
)

// Results of the replay script.
const (
	replayGone   = -1
	replayBefore = 0
)

// ReplayDeadLetter publishes a dead letter again on its stream, newly signed and
// for the group that gave it up, and returns the id of the new entry. Each dead
// letter is replayed once at most: ErrReplayed comes with the id of the replay.
// Freshness and replay guard take it as new.
func (c *Client) ReplayDeadLetter(ctx context.Context, id string) (string, error) {
	letter, err := c.DeadLetter(ctx, id)
	if err != nil {
		return "", err
	}
	if letter.Replayed != "" {
		return letter.Replayed, fmt.Errorf("%w: %s", ErrReplayed, id)
	}
	d, err := c.resign(letter, time.Now())
	if err != nil {
		return "", fmt.Errorf("replay dead letter %s: %w", id, err)
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.DialTimeout)
	defer cancel()
	placed, err := c.storeReplay(ctx, id, d)
	if err != nil {
		return placed, fmt.Errorf("replay dead letter %s: %w", id, err)
	}
	return placed, nil
}

func (c *Client) storeReplay(ctx context.Context, id string, d draft) (string, error) {
	if c.conn.Clustered {
		return c.replaySteps(ctx, id, d)
	}
	keys := []string{c.cfg.DeadLetter, c.replayedKey(), d.stream}
	args := []string{id, c.load.boundText, d.payload, d.signature}
	reply, err := replayScript.Exec(ctx, c.conn, keys, args).ToArray()
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if len(reply) != 2 {
		return "", fmt.Errorf("%d results, 2 expected", len(reply))
	}
	status, _ := reply[0].AsInt64()
	placed, _ := reply[1].ToString()
	switch status {
	case replayGone:
		return "", ErrNoDeadLetter
	case replayBefore:
		return placed, ErrReplayed
	default:
		return placed, nil
	}
}

// resign wraps the payload of a dead letter in a new envelope. Only what was
// signed for that very stream is: a replay must not lend our signature to a
// forgery.
func (c *Client) resign(letter DeadLetter, now time.Time) (draft, error) {
	if letter.Stream == "" {
		return draft{}, fmt.Errorf("%w: it does not tell its stream", ErrNotReplayable)
	}
	if err := c.cfg.Keyring.VerifyEnvelope(letter.Payload, letter.Signature); err != nil {
		return draft{}, fmt.Errorf("%w: %w", ErrNotReplayable, err)
	}
	env, err := decodeEnvelope(letter.Payload, string(letter.Payload))
	if err != nil {
		return draft{}, fmt.Errorf("%w: %w", ErrNotReplayable, err)
	}
	if origin := env.own[ownStream]; origin.set && origin.value != letter.Stream {
		return draft{}, fmt.Errorf("%w: it was signed for stream %q", ErrNotReplayable, origin.value)
	}
	if !c.cfg.Streams.carries(letter.Stream, env.kind) {
		return draft{}, fmt.Errorf("%w: type %s never travels on %s", ErrNotReplayable, env.kind, letter.Stream)
	}
	m := Message{Stream: letter.Stream, Attributes: replayAttributes(env.attributes, letter)}
	buf := appendEnvelope(make([]byte, 0, len(letter.Payload)+256), env.kind, len(env.payload))
	payload, signature, err := c.seal(append(buf, env.payload...), m, now)
	return draft{stream: letter.Stream, payload: payload, signature: signature}, err
}

func replayAttributes(original map[string]string, letter DeadLetter) map[string]string {
	attributes := maps.Clone(original)
	if attributes == nil {
		attributes = make(map[string]string)
	}
	delete(attributes, attributeOnce)
	attributes[attributeReplayedOf] = letter.ID
	if letter.Group != "" {
		attributes[attributeReplayGroup] = letter.Group
	}
	return attributes
}
