-- Keeps what the leader of a group says, for the others and for whoever leads next.
-- KEYS: roll. ARGV: name, incarnation, token, which time it is that it speaks, text.
-- Result: 1, or 0 when that lead is over.
local roll, token, time = KEYS[1], ARGV[3], tonumber(ARGV[4])
local lead = redis.call('HMGET', roll, 'leader', 'token', 'proclaimed_as')
if lead[1] ~= ARGV[1] .. ' ' .. ARGV[2] or lead[2] ~= token then return 0 end
local by, last = string.match(lead[3] or '', '^(%d+) (%d+)$')
if by == token and tonumber(last) > time then return 1 end
redis.call('HSET', roll, 'proclaimed', ARGV[5], 'proclaimed_as', token .. ' ' .. ARGV[4])
return 1
