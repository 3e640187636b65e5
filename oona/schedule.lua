-- KEYS: due index. ARGV: run, when it is due.
return schedule(KEYS[1], ARGV[1], tonumber(ARGV[2]))
