package main

import (
	"context"
	"fmt"

	"github.com/redis/rueidis"
)

// onceScript finishes requests with the promise that ours gives, and does no more: one that somebody
// else has finished is not answered, nor is one whose id was answered before, and what is answered is
// marked and acknowledged in the same step.
//
// KEYS: requests, answers, a mark for each entry. ARGV: group, bound of the answers, life of the marks;
// for each entry its id, and payload and signature of its answer. It returns how many were answered.
var onceScript = rueidis.NewLuaScript(`
local KEYS, ARGV, call, count = KEYS, ARGV, redis.call, 0
local requests, answers, group, life = KEYS[1], KEYS[2], ARGV[1], ARGV[3]
for i = 3, #KEYS do
  local at = 3 * i - 5
  local first = call('XACK', requests, group, ARGV[at]) == 1 and call('SET', KEYS[i], ARGV[at], 'NX', 'PX', life)
  local answer = first and call('XADD', answers, '*', 'payload', ARGV[at + 1], 'signature', ARGV[at + 2])
  count = count + (answer and 1 or 0)
end
call('XTRIM', answers, 'MAXLEN', '~', ARGV[2])
return count`)

// onceLife is how long a mark lives, in milliseconds: as long as ours.
const onceLife = "90000000"

func finishOnce(ctx context.Context, client rueidis.Client, on streams, batch []answered) error {
	keys := append(make([]string, 0, len(batch)+2), on.requests, on.ready)
	args := append(make([]string, 0, 3*len(batch)+3), ceilingGroup, streamBound, onceLife)
	for _, a := range batch {
		keys = append(keys, "bench:replay:"+ceilingGroup+":request:"+a.request)
		args = append(args, a.id, a.payload, a.signature)
	}
	count, err := onceScript.Exec(ctx, client, keys, args).AsInt64()
	if err != nil {
		return fmt.Errorf("finish requests: %w", err)
	}
	if int(count) != len(batch) {
		return fmt.Errorf("%d of %d requests were answered", count, len(batch))
	}
	return nil
}
