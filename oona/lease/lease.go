// Package lease keeps the members of a group and their one leader: a Lease is one
// process's place among them, a Roll is who is there and who leads, and a Member is
// one of them with what it says of itself. Client.NewLease makes leases; a fleet of
// services renews them.
package lease

import (
	"cmp"
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/esper-lite/weatherlight/oona/internal/redis"
)

//go:embed members.lua
var membersSource string

//go:embed leave.lua
var leaveSource string

//go:embed proclaim.lua
var proclaimSource string

var (
	membersScript  = rueidis.NewLuaScript(membersSource)
	leaveScript    = rueidis.NewLuaScript(leaveSource)
	proclaimScript = rueidis.NewLuaScript(proclaimSource)
)

// ErrNameTaken: a live process of another owner has this name. Two consumers of
// one name would take each other's entries.
var ErrNameTaken = errors.New("another live process has this name")

// ErrDisplaced: a process of the same owner has taken this one's place. It has it for as
// long as it lives.
var ErrDisplaced = errors.New("another live process of the same owner has this place")

// ErrStranger: the live leader, or while none leads another member, has a badge that
// this process does not know. So it neither stays on the roll nor leads.
var ErrStranger = errors.New("a stranger among the instances")

// Config says who takes part. Name and owner are words without blanks.
type Config struct {
	Group string        // those who share it elect one leader [the client's]
	Name  string        // of this process among them [the client's consumer]
	Owner string        // who may use the name: it takes the place of its own predecessor at once
	TTL   time.Duration // silence after which a member is gone and its lead free [3 s]
	// Badges are what all of a group must agree on, as words without blanks: this
	// process's own, and then those of others that it gets on with. Nil: nobody asks.
	Badges func() []string
}

// Lease is one process's place on the roll of a group, and its claim to lead
// it. The roll is one key and goes by the server's clock, so it needs neither
// key expiry nor clocks that agree.
type Lease struct {
	conn *redis.Conn
	cfg  Config
	key  string
	born string
	held atomic.Bool  // it has had its place
	said atomic.Int64 // times that it has proclaimed something
}

// Roll is who is there. A leader has a token that grows with each change of the
// lead: what carries a lower one comes from a leader that was.
type Roll struct {
	Token   int64 // 0: somebody else leads
	Leader  string
	Members []Member // live ones, this process included, by name
	// Proclaimed is what a leader proclaimed last, whether it lives or not; nil before the first.
	Proclaimed []byte
}

// Member is one live process and what it says of itself.
type Member struct {
	Name string
	Note []byte
}

// New prepares a lease. Nothing is claimed before the first Renew.
func New(conn *redis.Conn, cfg Config) *Lease {
	cfg.Owner = cmp.Or(cfg.Owner, "anyone")
	cfg.TTL = cmp.Or(cfg.TTL, 3*time.Second)
	return &Lease{conn: conn, cfg: cfg, key: Key(cfg.Group), born: rand.Text()}
}

// Key is the hash with the roll of a group.
func Key(group string) string { return "oona:members:" + group }

// Renew stays on the roll for another TTL with a note for the others, keeps the
// lead or takes it when it is free, and returns who is there. It fails with
// ErrNameTaken, and changes nothing, while the name belongs to somebody else, so
// with ErrDisplaced while a process of the same owner that came later has the place, and
// with ErrStranger while it is a stranger.
func (l *Lease) Renew(ctx context.Context, note []byte) (Roll, error) {
	// Time as the least token keeps tokens growing when Redis loses its memory.
	floor := strconv.FormatInt(time.Now().UnixMilli(), 10)
	args := []string{l.cfg.Name, l.cfg.Owner, l.born, strconv.FormatInt(l.cfg.TTL.Milliseconds(), 10), floor, string(note), "0"}
	if l.held.Load() {
		args[6] = "1"
	}
	if l.cfg.Badges != nil {
		args = append(args, l.cfg.Badges()...)
	} else {
		args = append(args, "")
	}
	answer, err := redis.Call(ctx, l.conn, func(ctx context.Context) ([]string, error) {
		return membersScript.Exec(ctx, l.conn, []string{l.key}, args).AsStrSlice()
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
	refusals := map[int64]error{-1: ErrNameTaken, -2: ErrStranger, -3: ErrDisplaced}
	if refused := refusals[token]; refused != nil {
		return Roll{}, fmt.Errorf("%w: %s in group %s", refused, answer[1], l.cfg.Group)
	}
	l.held.Store(true)
	roll := Roll{Token: token, Leader: answer[1]}
	for pair := range slices.Chunk(answer[2:], 2) {
		if pair[0] == "" {
			roll.Proclaimed = []byte(pair[1])
			continue
		}
		roll.Members = append(roll.Members, Member{Name: pair[0], Note: []byte(pair[1])})
	}
	slices.SortFunc(roll.Members, func(a, b Member) int { return cmp.Compare(a.Name, b.Name) })
	return roll, nil
}

// Confirm asks the bus whether the token is still the leader's: to be asked
// before a write that a leader of old must not make.
func (l *Lease) Confirm(ctx context.Context, token int64) (bool, error) {
	held, err := redis.Call(ctx, l.conn, func(ctx context.Context) ([]string, error) {
		return l.conn.Do(ctx, l.conn.B().Hmget().Key(l.key).Field("leader", "token").Build()).AsStrSlice()
	})
	if err != nil {
		return false, fmt.Errorf("confirm lease of %s: %w", l.cfg.Group, err)
	}
	return slices.Equal(held, []string{l.cfg.Name + " " + l.born, strconv.FormatInt(token, 10)}), nil
}

// Proclaim says something as the leader that the token is of. It stays on the roll until the
// next one does, whoever goes. It reports whether that lead still stands: otherwise nothing is said.
// What was said later stays, in whichever order the bus hears of it.
func (l *Lease) Proclaim(ctx context.Context, token int64, text []byte) (bool, error) {
	args := []string{
		l.cfg.Name, l.born, strconv.FormatInt(token, 10), strconv.FormatInt(l.said.Add(1), 10), string(text),
	}
	said, err := redis.Call(ctx, l.conn, func(ctx context.Context) (int64, error) {
		return proclaimScript.Exec(ctx, l.conn, []string{l.key}, args).AsInt64()
	})
	if err != nil {
		return false, fmt.Errorf("proclaim as leader of %s: %w", l.cfg.Group, err)
	}
	return said == 1, nil
}

// Release leaves the roll and gives up the lead: the others need not wait for
// the end of the TTL. Without a bus it fails as unavailable, and its place ends by itself.
func (l *Lease) Release(ctx context.Context) error {
	_, err := redis.Call(ctx, l.conn, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, leaveScript.Exec(ctx, l.conn, []string{l.key}, []string{l.cfg.Name, l.born}).Error()
	})
	switch {
	case err == nil:
		return nil
	case redis.IsReply(err):
		return fmt.Errorf("release lease of %s: %w", l.cfg.Group, err)
	default:
		return fmt.Errorf("release lease of %s: %w: %w", l.cfg.Group, redis.ErrUnavailable, err)
	}
}
