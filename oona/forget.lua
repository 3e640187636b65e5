-- Removes a record that is still the version that was decided on.
-- KEYS: record. ARGV: version. Result: 0, or -1 - the version that was found instead.
local version = redis.call('HGET', KEYS[1], 'v')
if not version then return 0 end
if version ~= ARGV[1] then return -1 - tonumber(version) end
redis.call('DEL', KEYS[1])
return 0
