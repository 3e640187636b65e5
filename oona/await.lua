-- Keeps a sign that something is waited for, for as long as the longest of those who
-- set it asked for.
-- KEYS[1] the sign; ARGV[1] how long, in milliseconds.
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then
  redis.call('SET', KEYS[1], '1', 'PX', ARGV[1])
end
return 1
