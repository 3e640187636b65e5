package oona

import (
	"time"

	"github.com/redis/rueidis"
)

// resealShare is the part of a window of freshness that an answer may wait for
// the bus, before it is signed anew.
const resealShare = 4

// resealAfter is how long an answer may wait for the bus with its signature: an
// outage must not make it stale before it is stored.
func (c Config) resealAfter() time.Duration {
	after := 15 * time.Second
	for _, window := range []time.Duration{c.FreshnessWindow, c.ControlWindow} {
		if window > 0 {
			after = min(after, window/resealShare)
		}
	}
	return after
}

// reseal signs anew the answers that have waited for too long.
func (c *Client) reseal(batch []outcome, now time.Time) {
	limit := now.Add(-c.cfg.resealAfter())
	for _, o := range batch {
		for i, answer := range o.answers {
			if answer.sealed.Before(limit) {
				o.answers[i] = c.resealed(answer, now)
			}
		}
	}
}

// resealed dates a draft anew. It keeps its nonce: published twice, it is still
// one message.
func (c *Client) resealed(d draft, now time.Time) draft {
	env, err := decodeEnvelope([]byte(d.payload), d.payload)
	if err != nil {
		return d // impossible: it was encoded here
	}
	signer := c.cfg.Keyring.Signer()
	buf := appendEnvelope(make([]byte, 0, len(d.payload)), env.kind, len(env.payload))
	buf = append(buf, env.payload...)
	for _, key := range sortedKeys(env.attributes) {
		buf = appendAttribute(buf, key, env.attributes[key])
	}
	buf = appendAttribute(buf, attributeKeyID, signer.KeyID())
	buf = appendAttribute(buf, attributeStream, d.stream)
	buf = appendAttribute(buf, attributeIssuedAt, unixMilliText(now))
	buf = appendAttribute(buf, attributeNonce, env.own[ownNonce].value)
	d.payload, d.signature, d.sealed = rueidis.BinaryString(buf), signer.SignEnvelope(buf), now
	return d
}
