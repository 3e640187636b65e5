-- Replays one dead letter, once. KEYS: dead letters, notes on replays, stream.
-- ARGV: id, bound of the stream, payload, signature.
-- Result: 1 and the new id, 0 and the id of the earlier replay, or -1 when the
-- dead letter is gone.
if #redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1]) == 0 then return {-1, ''} end
local before = redis.call('HGET', KEYS[2], ARGV[1])
if before then return {0, before} end
local id = redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[2], '*', 'payload', ARGV[3], 'signature', ARGV[4])
redis.call('HSET', KEYS[2], ARGV[1], id)
return {1, id}
