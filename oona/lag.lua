-- How many entries lie behind an id, at most ARGV[2]: without moving them.
return #redis.call('XRANGE', KEYS[1], '(' .. ARGV[1], '+', 'COUNT', ARGV[2])
