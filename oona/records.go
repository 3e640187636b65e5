package oona

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona/internal/envelope"
	"github.com/esper-lite/weatherlight/oona/internal/redis"
)

//go:embed save.lua
var saveSource string

//go:embed settle.lua
var settleSource string

// The scripts are immutable; EVALSHA falls back to EVAL after a restart of Redis.
var (
	saveScript   = rueidis.NewLuaScript(dueSource + saveSource)
	settleScript = rueidis.NewLuaScript(settleSource)
)

const (
	maxOrders  = 64             // entries of a run's stream
	ordersLife = 24 * time.Hour // of a run's stream after its last order
	recordLife = 7 * 24 * time.Hour
)

var (
	maxOrdersText  = strconv.Itoa(maxOrders)
	ordersLifeText = strconv.FormatInt(ordersLife.Milliseconds(), 10)
)

// errBracedStream: a record and the stream of its run must lie on one node.
var errBracedStream = errors.New("stream of a run has braces in its name")

// Records keeps what the parts of a service know of each training run: one value
// for each part and run, written by compare-and-set, with the orders that came of
// it. It is safe for concurrent use, and many calls at once share round trips.
type Records struct {
	c        *Client
	streamOf func(run string) string
}

// RecordKey names a record. A part is a plain word.
type RecordKey struct{ Part, Run string }

// Record is one record as it was read. Versions of one key only ever grow, also
// across its end and a new beginning.
type Record struct {
	Version        int64 // 0: there is no record
	Value, Pending []byte
}

// RecordWrite is one decision on a record. Its bytes are sent as they lie there:
// they must stay as they are, also when the write has failed.
type RecordWrite struct {
	Key     RecordKey
	Version int64         // that was decided on; 0: there must be none
	Value   []byte        //
	Pending []byte        // outputs that are to be published yet; they take the place of the last ones
	TTL     time.Duration // from now on [7 days]
	// Orders are signed commands for the stream of the run, at most 64. They are
	// there exactly when the record is.
	Orders []*leyline.AdaptationCommand
	// Due, unless zero, makes the run due as Schedule does, in the same round trip
	// on one Redis; in a cluster before the record is written.
	Due time.Time
}

// Records keeps records beside the order stream of each run, which streamOf
// names: distinct plain words without braces.
func (c *Client) Records(streamOf func(run string) string) *Records {
	return &Records{c: c, streamOf: streamOf}
}

// place is where a record and the orders of its run lie: on one node of a cluster.
func (r *Records) place(key RecordKey) (record, stream string, err error) {
	stream = r.streamOf(key.Run)
	if strings.ContainsAny(stream, "{}") {
		return "", "", fmt.Errorf("%w: %q", errBracedStream, stream)
	}
	return "weatherlight:" + key.Part + ":{" + stream + "}", stream, nil
}

// Load reads a record, within DialTimeout. One that is not there has version 0.
func (r *Records) Load(ctx context.Context, key RecordKey) (Record, error) {
	record, err := r.load(ctx, key)
	if err != nil {
		return Record{}, fmt.Errorf("load record of %s for run %q: %w", key.Part, key.Run, err)
	}
	return record, nil
}

func (r *Records) load(ctx context.Context, key RecordKey) (Record, error) {
	place, _, err := r.place(key)
	if err != nil {
		return Record{}, err
	}
	fields, err := redis.Insist(ctx, r.c.conn, func(ctx context.Context) ([]rueidis.RedisMessage, error) {
		return r.c.conn.Do(ctx, r.c.conn.B().Hmget().Key(place).Field("v", "d", "o").Build()).ToArray()
	})
	if err != nil {
		return Record{}, r.blame(ctx, err, place)
	}
	record, err := readRecord(fields)
	if err != nil {
		return Record{}, fmt.Errorf("%w: %s: %w", ErrDamaged, place, err)
	}
	return record, r.bounded(len(record.Value) + len(record.Pending))
}

// readRecord reads version, value and pending outputs.
func readRecord(fields []rueidis.RedisMessage) (Record, error) {
	if len(fields) != 3 {
		return Record{}, fmt.Errorf("%d fields in the answer, want 3", len(fields))
	}
	if fields[0].IsNil() {
		return Record{}, nil
	}
	version, err := fields[0].AsInt64()
	if err != nil || version < 1 {
		return Record{}, errors.New("its version is no positive number")
	}
	record := Record{Version: version}
	if record.Value, err = readField(&fields[1]); err == nil {
		record.Pending, err = readField(&fields[2])
	}
	return record, err
}

// readField is the bytes of a field, which nobody else has; nil when it is not there.
func readField(field *rueidis.RedisMessage) ([]byte, error) {
	if field.IsNil() {
		return nil, nil
	}
	return field.AsBytes()
}

func (r *Records) bounded(size int) error {
	if size > r.c.cfg.MaxRecord {
		return fmt.Errorf("%w: %d bytes, %d allowed", ErrTooLarge, size, r.c.cfg.MaxRecord)
	}
	return nil
}

// Save writes a record and appends its orders to the stream of the run, in one
// step, and returns its new version. It fails with a *ConflictError when the
// record is not the version that was decided on, with ErrTooLarge or
// ErrNotPublishable for what can never be written, and with ErrUnavailable. A
// connection that breaks is made again, within DialTimeout, and a write that was
// done and whose answer was lost is known again, so its orders go out once. After
// ErrUnavailable the record may be written all the same: load it before the next
// decision.
func (r *Records) Save(ctx context.Context, w RecordWrite) (int64, error) {
	version, err := r.save(ctx, w)
	if err != nil {
		if _, conflict := errors.AsType[*ConflictError](err); conflict {
			return 0, err
		}
		return 0, fmt.Errorf("save record of %s for run %q: %w", w.Key.Part, w.Key.Run, err)
	}
	r.c.meters.Published.Add(int64(len(w.Orders)))
	return version, nil
}

func (r *Records) save(ctx context.Context, w RecordWrite) (int64, error) {
	if r.c.conn.Clustered && !w.Due.IsZero() {
		// The index is a key of all runs, on whatever node: a run that is due early
		// harms nothing, and one that is never due does.
		if err := r.Schedule(ctx, w.Key.Part, w.Key.Run, w.Due); err != nil {
			return 0, err
		}
		w.Due = time.Time{}
	}
	keys, args, err := r.saveInput(w)
	if err != nil {
		return 0, err
	}
	version, err := r.run(ctx, saveScript, keys, args)
	if err != nil {
		return 0, r.blame(ctx, err, keys...)
	}
	if version < 0 {
		err = &ConflictError{Key: w.Key, Expected: w.Version, Found: -1 - version}
	}
	return version, err
}

// kinds are those of a record, the stream of its run and the index of its part.
var kinds = []string{"hash", "stream", "zset"}

// blame names the key of a write that the server refused for what lies there. A record and
// the stream of a run are ErrDamaged, and the run's own trouble; the index is that of all.
func (r *Records) blame(ctx context.Context, err error, keys ...string) error {
	if len(keys) > 1 && redis.IsExhausted(err) {
		return fmt.Errorf("%w: %s: %s", ErrDamaged, keys[1], err.Error())
	}
	if !redis.HasCode(err, "WRONGTYPE") {
		return err
	}
	for i, key := range keys {
		kind, asked := redis.Insist(ctx, r.c.conn, func(ctx context.Context) (string, error) {
			return r.c.conn.Do(ctx, r.c.conn.B().Type().Key(key).Build()).ToString()
		})
		switch {
		case asked != nil || kind == "none" || kind == kinds[i]:
		case i < 2:
			return fmt.Errorf("%w: %s is a %s: %s", ErrDamaged, key, kind, err.Error())
		default:
			return fmt.Errorf("%s is a %s: %w", key, kind, err)
		}
	}
	return err
}

// saveInput is what the save script is told: see save.lua.
func (r *Records) saveInput(w RecordWrite) (keys, args []string, err error) {
	record, stream, err := r.place(w.Key)
	if err != nil {
		return nil, nil, err
	}
	if err := r.bounded(len(w.Value) + len(w.Pending)); err != nil {
		return nil, nil, err
	}
	if len(w.Orders) > maxOrders {
		return nil, nil, fmt.Errorf("%w: %d orders, %d allowed", ErrTooLarge, len(w.Orders), maxOrders)
	}
	w.TTL = cmp.Or(w.TTL, recordLife)
	keys = append(make([]string, 0, 3), record, stream)
	due := ""
	if !w.Due.IsZero() {
		keys, due = append(keys, dueIndex(w.Key.Part)), dueText(w.Due)
	}
	args = append(make([]string, 0, 9+2*len(w.Orders)),
		strconv.FormatInt(w.Version, 10), strconv.FormatUint(rand.Uint64(), 36),
		strconv.FormatInt(max(1, w.TTL.Milliseconds()), 10),
		rueidis.BinaryString(w.Value), rueidis.BinaryString(w.Pending),
		maxOrdersText, ordersLifeText, w.Key.Run, due)
	now, room := r.c.Now(), envelope.Slab{Left: len(w.Orders)}
	for _, order := range w.Orders {
		draft, err := r.c.sealer.Seal(envelope.Content{Stream: stream, Payload: order}, now, &room)
		if err != nil {
			return nil, nil, err
		}
		args = append(args, draft.Payload, draft.Signature)
	}
	return keys, args, nil
}

// Settle forgets the pending outputs of a record, once they are published. It does
// nothing when the record is another version by now: those have outputs of their own.
func (r *Records) Settle(ctx context.Context, key RecordKey, version int64) error {
	place, _, err := r.place(key)
	if err == nil {
		_, err = r.run(ctx, settleScript, []string{place}, []string{strconv.FormatInt(version, 10)})
	}
	if err != nil {
		return fmt.Errorf("settle record of %s for run %q: %w", key.Part, key.Run, err)
	}
	return nil
}

func (r *Records) run(ctx context.Context, script *rueidis.Lua, keys, args []string) (int64, error) {
	return redis.Insist(ctx, r.c.conn, func(ctx context.Context) (int64, error) {
		return script.Exec(ctx, r.c.conn, keys, args).AsInt64()
	})
}
