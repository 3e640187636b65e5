-- Commits finished deliveries of one group. For each: acknowledge, and only if
-- that removed the entry (nobody else finished it before) publish its answers
-- and remember its request id, or keep it as a dead letter.
-- KEYS: stream, dead letters, then answer streams and marks by index.
-- Result: 1 done, 0 done before, 2 refused as a replay, -1 could not be stored
-- and is pending again.
local KEYS, ARGV = KEYS, ARGV -- as locals they cost a third of a look-up
local stream, dead = KEYS[1], KEYS[2]
local group, consumer, bound, dead_bound = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local now, max_payload = ARGV[5], tonumber(ARGV[6])

local function failed(reply)
  return type(reply) == 'table' and reply.err
end

local function bury(id, reason, message, attempts)
  local payload, signature = '', ''
  local entry = redis.call('XRANGE', stream, id, id)[1]
  local fields = entry and entry[2] or {}
  for i = 1, #fields, 2 do
    if fields[i] == 'payload' then payload = fields[i + 1] end
    if fields[i] == 'signature' then signature = fields[i + 1] end
  end
  return redis.pcall('XADD', dead, 'MAXLEN', '~', dead_bound, '*',
    'payload', string.sub(payload, 1, max_payload), 'signature', string.sub(signature, 1, max_payload),
    'origin_stream', stream, 'entry_id', id, 'group', group, 'reason', reason,
    'error', message, 'attempts', attempts, 'time', now)
end

-- Takes the mark for an entry in one command, as nearly all marks are free.
-- Returns whether it was free, and who holds it otherwise. A key that is no mark
-- is somebody else's.
local function take(mark, id, life)
  local free = redis.pcall('SET', mark, id, 'NX', 'PX', life)
  if free then return free end
  local holder = redis.pcall('GET', mark)
  return false, failed(holder) and 'unknown' or holder
end

-- Publishes all answers of an entry or none of them: a retry publishes them all
-- again. Nobody reads between the commands of a script.
local function publish(first, last)
  local stored = last - first > 3 and {}
  for i = first, last, 3 do
    local key = KEYS[tonumber(ARGV[i])]
    local reply = redis.pcall('XADD', key, 'MAXLEN', '~', bound, '*',
      'payload', ARGV[i + 1], 'signature', ARGV[i + 2])
    if failed(reply) then
      for n = 1, stored and #stored or 0, 2 do redis.call('XDEL', stored[n], stored[n + 1]) end
      return false
    end
    if stored then
      stored[#stored + 1] = key
      stored[#stored + 1] = reply
    end
  end
  return true
end

local function settle(id, mark, life, reason, message, attempts, first, last)
  if reason ~= '' then
    return failed(bury(id, reason, message, attempts)) and -1 or 1
  end
  if mark then
    local free, holder = take(mark, id, life)
    if failed(free) then return -1 end
    -- An entry's mark and its acknowledgement are one commit: one that holds its
    -- own mark and is pending all the same was done, and its group lost since.
    if holder == id then return 0 end
    if not free then
      local reply = bury(id, 'replay', 'request was answered for entry ' .. holder, attempts)
      return failed(reply) and -1 or 2
    end
  end
  if publish(first, last) then return 1 end
  if mark then redis.call('DEL', mark) end
  return -1
end

local results, count = {}, 0
local at, size = 7, #ARGV
while at <= size do
  local id, first = ARGV[at], at + 7
  local last = first + 3 * tonumber(ARGV[at + 6]) - 1
  local status = 0
  if redis.call('XACK', stream, group, id) == 1 then
    local mark = KEYS[tonumber(ARGV[at + 1])]
    status = settle(id, mark, ARGV[at + 2], ARGV[at + 3], ARGV[at + 4], ARGV[at + 5], first, last)
  end
  if status == -1 then
    redis.pcall('XCLAIM', stream, group, consumer, 0, id, 'FORCE', 'JUSTID')
  end
  count = count + 1
  results[count] = status
  at = last + 1
end
return results
