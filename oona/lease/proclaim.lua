-- Keeps what the leader of a group says, for the others and for whoever leads next.
-- KEYS: roll. ARGV: name, incarnation, token, text. Result: 1, or 0 when that lead is over.
local lead = redis.call('HMGET', KEYS[1], 'leader', 'token')
if lead[1] ~= ARGV[1] .. ' ' .. ARGV[2] or lead[2] ~= ARGV[3] then return 0 end
redis.call('HSET', KEYS[1], 'proclaimed', ARGV[4])
return 1
