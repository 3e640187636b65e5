-- Gives back what a consumer still has in hand, as if it had not been delivered: what
-- another one has taken meanwhile is left alone.
--
-- KEYS: stream. ARGV: group, consumer, idle time to set, deliveries to set, ids.
local stream, group, consumer, idle, count = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
for i = 5, #ARGV do
  local id = ARGV[i]
  if #redis.call('XPENDING', stream, group, id, id, 1, consumer) > 0 then
    redis.call('XCLAIM', stream, group, consumer, 0, id, 'IDLE', idle, 'RETRYCOUNT', count, 'JUSTID')
  end
end
