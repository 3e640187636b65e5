-- Claims runs that are due, the longest overdue first: they are due again when the
-- claim is. KEYS: due index. ARGV: now, how many, the claim.
local runs = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', '0', ARGV[2])
for i = 1, #runs do redis.call('ZADD', KEYS[1], ARGV[3], runs[i]) end
return runs
