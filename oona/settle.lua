-- Forgets the pending outputs of a record that is still the version they belong to.
-- KEYS: record. ARGV: version.
if redis.call('HGET', KEYS[1], 'v') ~= ARGV[1] then return 0 end
return redis.call('HDEL', KEYS[1], 'o')
