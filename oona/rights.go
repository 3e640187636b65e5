package oona

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/rueidis"

	"github.com/esper-lite/weatherlight/oona/internal/admission"
	"github.com/esper-lite/weatherlight/oona/internal/redis"
	"github.com/esper-lite/weatherlight/oona/lease"
)

// A probe is a command in a form that changes nothing: the server refuses it, or finds
// nothing to do, once it has looked at its access list. KEY stands for the key, and
// NOBODY for a name that nothing has.
type probe string

// keyUse is what a service does with keys of one kind; "" is none.
type keyUse struct {
	keys   []string
	probes []probe
}

const (
	probeHdel, probeHget, probeHgetall = "HDEL KEY NOBODY", "HGET KEY NOBODY", "HGETALL KEY"
	probeHkeys, probeHmget             = "HKEYS KEY", "HMGET KEY NOBODY"
	probeHset                          = "HSET KEY NOBODY one value-too-many"
	probeDel, probeExists, probeGet    = "DEL KEY", "EXISTS KEY", "GET KEY"
	probePexpire, probePttl            = "PEXPIRE KEY 1", "PTTL KEY"
	probeSet                           = "SET KEY NOBODY no-such-option"
	probeXadd, probeXlen               = "XADD KEY 0-0 may write", "XLEN KEY"
	probeXdel, probeXrange             = "XDEL KEY 0-0", "XRANGE KEY 0-0 0-0"
	probeXtrim                         = "XTRIM KEY MAXLEN no-number"
)

// used is what the services of a client's group do, on which keys. Keys that belong to a
// run or a message are asked for by a name that none has, so that nothing is found there.
func (c *Client) used(parts []string, nobody string) []keyUse {
	streams := c.cfg.Streams.Names()
	losses := make([]string, len(streams))
	for i, stream := range streams {
		losses[i] = admission.LossesKey(stream)
	}
	run := "oona.run." + nobody
	uses := []keyUse{
		{[]string{""}, []probe{"PING", "TIME", "EVAL return(1) 0", "EVALSHA NOBODY 0", "CLIENT ID", "CLIENT UNBLOCK 0"}},
		{streams, []probe{
			probeXadd, "XACK KEY NOBODY 0-1", "XCLAIM KEY NOBODY consumer 0 0-1", probeXdel,
			"XGROUP CREATE KEY NOBODY no-id", "XGROUP DELCONSUMER KEY NOBODY consumer",
			"XGROUP DESTROY KEY NOBODY", "XGROUP SETID KEY NOBODY no-id",
			"XINFO CONSUMERS KEY NOBODY", "XINFO GROUPS KEY", "XINFO STREAM KEY", probeXlen, "XPENDING KEY NOBODY", probeXrange,
			"XREADGROUP GROUP NOBODY consumer COUNT 1 STREAMS KEY >", probeXtrim, probeExists,
		}},
		{[]string{c.cfg.DeadLetter}, []probe{probeXadd, probeXdel, probeXlen, probeXrange, probeXtrim}},
		{[]string{c.DeadLetters().ReplayedKey()}, []probe{probeHdel, probeHget, probeHkeys, probeHmget, probeHset}},
		{[]string{lease.Key(c.cfg.Group)}, []probe{probeHdel, probeHget, probeHgetall, probeHmget, probeHset}},
		{losses, []probe{probeHdel, probeHget, "HINCRBY KEY NOBODY no-number", probeHkeys, probeHset}},
		{[]string{"oona:replay:" + c.cfg.Group + ":nonce:" + nobody}, []probe{probeDel, probeGet, "MGET KEY", probeSet}},
	}
	for _, part := range parts {
		record, _, _ := c.Records(func(string) string { return run }).place(RecordKey{Part: part, Run: nobody}) // it has no braces
		uses = append(uses,
			keyUse{[]string{record}, []probe{probeHdel, probeHget, probeHmget, probeHset, probePexpire}},
			keyUse{[]string{run}, []probe{probeXadd, probeDel, probePexpire, "XREVRANGE KEY + - COUNT 1"}},
			keyUse{[]string{dueIndex(part)}, []probe{
				"ZADD KEY no-number NOBODY", "ZRANGEBYSCORE KEY 0 0 LIMIT 0 1", "ZREM KEY NOBODY",
				"ZSCAN KEY 0 COUNT 1", "ZSCORE KEY NOBODY",
			}},
			keyUse{[]string{awaitSign(part)}, []probe{probeExists, probePttl, probeSet}},
		)
	}
	return uses
}

// command fills in a probe.
func (c *Client) command(p probe, key, nobody string) rueidis.Completed {
	words := strings.Fields(string(p))
	command := c.conn.B().Arbitrary(words[0])
	for _, word := range words[1:] {
		switch word {
		case "KEY":
			command = command.Keys(key)
		case "NOBODY":
			command = command.Args(nobody)
		default:
			command = command.Args(word)
		}
	}
	return command.Build()
}

// maxForbidden bounds how many of them an error names.
const maxForbidden = 8

// CheckRights asks, within DialTimeout, whether the server's access list lets this client
// do all that a service does that keeps records of these parts, and whether what lies
// under its keys is of the kind that it wants there. It changes nothing. What is
// forbidden shows in the ACL LOG of the server.
func (c *Client) CheckRights(ctx context.Context, parts ...string) error {
	ctx, cancel := context.WithTimeout(ctx, c.conn.Timeout)
	defer cancel()
	nobody := rand.Text()
	var forbidden []string
	for _, part := range inquiries(c, parts, nobody) { // a cluster's client does not mix the two
		found, err := forbiddenOf(ctx, c.conn, part)
		if err != nil {
			return err
		}
		forbidden = append(forbidden, found...)
	}
	if len(forbidden) == 0 {
		return nil
	}
	more := ""
	if n := len(forbidden) - maxForbidden; n > 0 {
		forbidden, more = forbidden[:maxForbidden], fmt.Sprintf(" and %d more", n)
	}
	return errors.New("NOPERM: the access list of the bus forbids " + strings.Join(forbidden, ", ") + more)
}

// inquiry is a question to the access list.
type inquiry struct {
	text    string
	command rueidis.Completed
}

// inquiries are the questions, those about no key before those about one.
func inquiries(c *Client, parts []string, nobody string) [2][]inquiry {
	var probes [2][]inquiry
	for _, use := range c.used(parts, nobody) {
		for _, key := range use.keys {
			for _, p := range use.probes {
				at := 0
				if strings.Contains(string(p), "KEY") {
					at = 1
				}
				text := strings.TrimSpace(nameOf(p) + " " + strings.ReplaceAll(key, nobody, "*"))
				probes[at] = append(probes[at], inquiry{text, c.command(p, key, nobody)})
			}
		}
	}
	return probes
}

// forbiddenOf are the questions that the access list says no to.
func forbiddenOf(ctx context.Context, conn *redis.Conn, asked []inquiry) (names []string, err error) {
	commands := make(rueidis.Commands, len(asked))
	for i := range asked {
		commands[i] = asked[i].command
	}
	for i, reply := range conn.DoMulti(ctx, commands...) {
		switch err := reply.Error(); {
		case redis.HasCode(err, "NOPERM"):
			names = append(names, asked[i].text)
		case redis.HasCode(err, "WRONGTYPE"):
			return nil, fmt.Errorf("%s: %w", asked[i].text, err)
		case reply.NonRedisError() != nil:
			return nil, fmt.Errorf("ask for the rights on the bus: %w", err)
		}
	}
	return names, nil
}

// nameOf is the command of a probe, with its subcommand.
func nameOf(p probe) string {
	words := strings.Fields(string(p))
	switch words[0] {
	case "XGROUP", "XINFO", "CLIENT":
		return words[0] + " " + words[1]
	default:
		return words[0]
	}
}
