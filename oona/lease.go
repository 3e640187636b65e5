package oona

import (
	"cmp"
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/esper-lite/weatherlight/oona/internal/redis"
)

//go:embed members.lua
var membersSource string

//go:embed leave.lua
var leaveSource string

var (
	membersScript = rueidis.NewLuaScript(membersSource)
	leaveScript   = rueidis.NewLuaScript(leaveSource)
)

// ErrNameTaken: a live process of another owner has this name. Two consumers of
// one name would take each other's entries.
var ErrNameTaken = errors.New("another live process has this name")

// LeaseConfig says who takes part. Name and owner are words without blanks.
type LeaseConfig struct {
	Group string        // those who share it elect one leader [the client's]
	Name  string        // of this process among them [the client's consumer]
	Owner string        // who may use the name: it takes the place of its own predecessor at once
	TTL   time.Duration // silence after which a member is gone and its lead free [3 s]
}

// Lease is one process's place on the roll of a group, and its claim to lead
// it. The roll is one key and goes by the server's clock, so it needs neither
// key expiry nor clocks that agree.
type Lease struct {
	c    *Client
	cfg  LeaseConfig
	key  string
	born string
}

// Roll is who is there. A leader has a token that grows with each change of the
// lead: what carries a lower one comes from a leader that was.
type Roll struct {
	Token   int64 // 0: somebody else leads
	Leader  string
	Members []Member // live ones, this process included, by name
}

// Member is one live process and what it says of itself.
type Member struct {
	Name string
	Note []byte
}

// NewLease prepares a lease. Nothing is claimed before the first Renew.
func (c *Client) NewLease(cfg LeaseConfig) *Lease {
	cfg.Group = cmp.Or(cfg.Group, c.cfg.Group)
	cfg.Name = cmp.Or(cfg.Name, c.cfg.Consumer)
	cfg.Owner = cmp.Or(cfg.Owner, "anyone")
	cfg.TTL = cmp.Or(cfg.TTL, 3*time.Second)
	return &Lease{c: c, cfg: cfg, key: "oona:members:" + cfg.Group, born: rand.Text()}
}

// TTL is how long a Renew holds.
func (l *Lease) TTL() time.Duration { return l.cfg.TTL }

// Renew stays on the roll for another TTL with a note for the others, keeps the
// lead or takes it when it is free, and returns who is there. It fails with
// ErrNameTaken, and changes nothing, while the name belongs to somebody else.
func (l *Lease) Renew(ctx context.Context, note []byte) (Roll, error) {
	// Time as the least token keeps tokens growing when Redis loses its memory.
	floor := strconv.FormatInt(time.Now().UnixMilli(), 10)
	args := []string{l.cfg.Name, l.cfg.Owner, l.born, strconv.FormatInt(l.cfg.TTL.Milliseconds(), 10), floor, string(note)}
	answer, err := redis.Call(ctx, l.c.conn, func(ctx context.Context) ([]string, error) {
		return membersScript.Exec(ctx, l.c.conn, []string{l.key}, args).AsStrSlice()
	})
	if err != nil {
		return Roll{}, fmt.Errorf("renew lease of %s: %w", l.cfg.Group, err)
	}
	return l.read(answer)
}

func (l *Lease) read(answer []string) (Roll, error) {
	if len(answer) < 2 || len(answer)%2 != 0 {
		return Roll{}, fmt.Errorf("renew lease of %s: %d fields in the answer", l.cfg.Group, len(answer))
	}
	token, err := strconv.ParseInt(answer[0], 10, 64)
	if err != nil {
		return Roll{}, fmt.Errorf("renew lease of %s: %w", l.cfg.Group, err)
	}
	if token < 0 {
		return Roll{}, fmt.Errorf("%w: %s in group %s", ErrNameTaken, l.cfg.Name, l.cfg.Group)
	}
	roll := Roll{Token: token, Leader: answer[1]}
	for pair := range slices.Chunk(answer[2:], 2) {
		roll.Members = append(roll.Members, Member{Name: pair[0], Note: []byte(pair[1])})
	}
	slices.SortFunc(roll.Members, func(a, b Member) int { return cmp.Compare(a.Name, b.Name) })
	return roll, nil
}

// Confirm asks the bus whether the token is still the leader's: to be asked
// before a write that a leader of old must not make.
func (l *Lease) Confirm(ctx context.Context, token int64) (bool, error) {
	held, err := redis.Call(ctx, l.c.conn, func(ctx context.Context) ([]string, error) {
		return l.c.conn.Do(ctx, l.c.conn.B().Hmget().Key(l.key).Field("leader", "token").Build()).AsStrSlice()
	})
	if err != nil {
		return false, fmt.Errorf("confirm lease of %s: %w", l.cfg.Group, err)
	}
	return slices.Equal(held, []string{l.cfg.Name + " " + l.born, strconv.FormatInt(token, 10)}), nil
}

// Release leaves the roll and gives up the lead: the others need not wait for
// the end of the TTL.
func (l *Lease) Release(ctx context.Context) error {
	_, err := redis.Call(ctx, l.c.conn, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, leaveScript.Exec(ctx, l.c.conn, []string{l.key}, []string{l.cfg.Name, l.born}).Error()
	})
	if err != nil {
		return fmt.Errorf("release lease of %s: %w", l.cfg.Group, err)
	}
	return nil
}

// PruneGroups removes from the streams the groups that begin with a prefix, that
// gone says yes to, and that nobody has read for at least empty, or for at least
// owning when they own entries. It returns the names of what went.
func (c *Client) PruneGroups(
	ctx context.Context, prefix string, gone func(group string) bool, empty, owning time.Duration, streams ...string,
) ([]string, error) {
	var removed []string
	for _, stream := range streams {
		groups, err := c.conn.Groups(ctx, stream)
		if err != nil {
			return removed, err
		}
		for _, g := range groups {
			if !strings.HasPrefix(g.Name, prefix) || !gone(g.Name) {
				continue
			}
			quiet, err := c.silence(ctx, stream, g.Name)
			if err != nil {
				return removed, err
			}
			if quiet < empty || g.Pending > 0 && quiet < owning {
				continue
			}
			if err := c.RemoveGroup(ctx, g.Name, stream); err != nil {
				return removed, err
			}
			removed = append(removed, stream+" "+g.Name)
		}
	}
	return removed, nil
}

// silence is how long no consumer of a group has asked for anything. A group
// that nobody ever read is as old as can be.
func (c *Client) silence(ctx context.Context, stream, group string) (time.Duration, error) {
	consumers, err := c.conn.Consumers(ctx, stream, group)
	if err != nil {
		return 0, err
	}
	quiet := time.Duration(1<<63 - 1)
	for _, consumer := range consumers {
		quiet = min(quiet, consumer.Idle)
	}
	return quiet, nil
}

// RemoveGroup removes a group from streams, with what it owns there. A group or
// stream that does not exist is no error.
func (c *Client) RemoveGroup(ctx context.Context, group string, streams ...string) error {
	for _, stream := range streams {
		err := c.conn.Do(ctx, c.conn.B().XgroupDestroy().Key(stream).Group(group).Build()).Error()
		if err != nil && !redis.IsReply(err) {
			return fmt.Errorf("remove group %s of %s: %w", group, stream, err)
		}
	}
	return nil
}
