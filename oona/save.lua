-- Writes a run record, if it still is the version that was decided on, and with
-- it the orders of that decision: both or nothing, and one decision's orders once.
-- KEYS: record, stream of its run, and the due index when the run is to be due.
-- ARGV: expected version, name of this write, ms to live of the record, value,
-- pending outputs, bound of the stream, ms to live of the stream, run, when it is
-- due; then payload and signature of each order.
-- Result: the version written, or -1 - the version that was found instead.
local KEYS, ARGV, call = KEYS, ARGV, redis.call
local record, stream = KEYS[1], KEYS[2]

local found = call('HMGET', record, 'v', 't')
local version = tonumber(found[1] or '0')
if version ~= tonumber(ARGV[1]) then
  if found[2] == ARGV[2] then return version end -- this very write, whose answer was lost
  return -1 - version
end
-- Time as the version: what was written before the server lost its last writes, or
-- all of them, has no version of what is written after.
local now = call('TIME')
version = math.max(version + 1, now[1] * 1000000 + now[2])

-- A script that fails is not undone, so what may fail comes before the record.
if KEYS[3] then schedule(KEYS[3], ARGV[8], tonumber(ARGV[9])) end
if #ARGV > 9 then
  -- Entries behind one from the future, as a clock that is set back leaves, would
  -- all seem old to their reader. A stream that begins anew is read anew.
  local last = call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
  if last and tonumber(string.match(last[1], '^%d+')) > now[1] * 1000 + 5000 then call('DEL', stream) end
end
for i = 10, #ARGV, 2 do
  call('XADD', stream, 'MAXLEN', '=', ARGV[6], '*', 'payload', ARGV[i], 'signature', ARGV[i + 1])
end
if #ARGV > 9 then call('PEXPIRE', stream, ARGV[7]) end

if ARGV[5] == '' then
  call('HSET', record, 'v', string.format('%.0f', version), 't', ARGV[2], 'd', ARGV[4])
  call('HDEL', record, 'o')
else
  call('HSET', record, 'v', string.format('%.0f', version), 't', ARGV[2], 'd', ARGV[4], 'o', ARGV[5])
end
call('PEXPIRE', record, ARGV[3])
return version
