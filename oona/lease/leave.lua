-- Takes a process off the roll of its group, and its lead with it.
-- KEYS: roll. ARGV: name, incarnation.
local text = redis.call('HGET', KEYS[1], 'member:' .. ARGV[1]) or ''
if string.match(text, '^%d+ %S+ (%S+) ') ~= ARGV[2] then return 0 end
redis.call('HDEL', KEYS[1], 'member:' .. ARGV[1], 'badge:' .. ARGV[1])
if redis.call('HGET', KEYS[1], 'leader') == ARGV[1] .. ' ' .. ARGV[2] then
  redis.call('HDEL', KEYS[1], 'leader')
end
return 1
