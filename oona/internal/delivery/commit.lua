-- Commits finished deliveries of one group. For each: acknowledge, and only if
-- that removed the entry (nobody else finished it before) publish its answers
-- and remember its request id, or keep it as a dead letter.
--
-- KEYS: stream, dead letters, streams of answers, and the marks in the order of
-- their entries.
-- ARGV: group, consumer, bound of streams, bound of the dead letters, now, most
-- bytes of a dead letter's payload, place of the first mark among KEYS; then runs
-- of deliveries that are alike. Most commits are one run, and each word that it
-- says once for all of its deliveries is one less to carry and to read for each:
--   'done', how many, life of their marks or '', attempt, how many answers each,
--     the place of each answer's stream among KEYS;
--     for each delivery: id, and the payload and signature of each answer
--   'refused', how many;
--     for each delivery: id, reason, error, attempts
--
-- Result: of each delivery that was not done its place, from 0, and what came of
-- it: 0 done before, 2 refused as a replay, -1 could not be stored and is pending
-- again; and behind these, if there is a -1, why. Nearly all are done, and words
-- about each would cost a tenth of the whole.
local KEYS, ARGV, must, call = KEYS, ARGV, redis.call, redis.pcall -- as locals they cost a third of a look-up
local stream, dead = KEYS[1], KEYS[2]
local group, consumer, bound, dead_bound = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local now, max_payload, next_mark = ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7])

local cause -- of the last failure

local function failed(reply)
  local err = type(reply) == 'table' and reply.err
  if err then cause = err end
  return err
end

local function bury(id, reason, message, attempts)
  local payload, signature = '', ''
  local entry = must('XRANGE', stream, id, id)[1]
  local fields = entry and entry[2] or {}
  for i = 1, #fields, 2 do
    if fields[i] == 'payload' then payload = fields[i + 1] end
    if fields[i] == 'signature' then signature = fields[i + 1] end
  end
  return call('XADD', dead, 'MAXLEN', '~', dead_bound, '*',
    'payload', string.sub(payload, 1, max_payload), 'signature', string.sub(signature, 1, max_payload),
    'origin_stream', stream, 'entry_id', id, 'group', group, 'reason', reason,
    'error', message, 'attempts', attempts, 'time', now)
end

local function refuse(id, reason, message, attempts)
  return failed(bury(id, reason, message, attempts)) and -1 or 1
end

-- Takes the mark for an entry in one command, as nearly all marks are free.
-- Returns whether it was free, and who holds it otherwise. A key that is no mark
-- is somebody else's.
local function take(mark, id, life)
  local free = call('SET', mark, id, 'NX', 'PX', life)
  if free then return free end
  local holder = call('GET', mark)
  return false, failed(holder) and 'unknown' or holder
end

-- Publishes all answers of an entry or none of them: a retry publishes them all
-- again. Nobody reads between the commands of a script.
local function publish(streams, at)
  local count = #streams
  local stored = count > 1 and {}
  for i = 1, count do
    local reply = call('XADD', streams[i], '*', 'payload', ARGV[at], 'signature', ARGV[at + 1])
    if failed(reply) then
      for n = 1, stored and #stored or 0 do call('XDEL', streams[n], stored[n]) end
      return false
    end
    if stored then stored[i] = reply end
    at = at + 2
  end
  return true
end

local function answer(id, mark, life, attempt, streams, at)
  if mark then
    local free, holder = take(mark, id, life)
    if failed(free) then return -1 end
    -- An entry's mark and its acknowledgement are one commit: one that holds its
    -- own mark and is pending all the same was done, and its group lost since.
    if holder == id then return 0 end
    if not free then
      local reply = bury(id, 'replay', 'request was answered for entry ' .. holder, attempt)
      return failed(reply) and -1 or 2
    end
  end
  if publish(streams, at) then return 1 end
  if mark then call('DEL', mark) end
  return -1
end

local exceptions, place, unstored = {}, 0, false

-- Settles one entry, which is left as it was when it cannot be.
local function settle(id, how, ...)
  local status = 0
  if must('XACK', stream, group, id) == 1 then status = how(id, ...) end
  if status == -1 then
    unstored = true
    call('XCLAIM', stream, group, consumer, 0, id, 'FORCE', 'JUSTID')
  end
  if status ~= 1 then
    exceptions[#exceptions + 1] = place
    exceptions[#exceptions + 1] = status
  end
  place = place + 1
end

-- Each returns the place behind its run.
local runs = {}

function runs.done(at)
  local entries, life, attempt, answers = tonumber(ARGV[at]), ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3])
  local streams = {}
  for i = 1, answers do streams[i] = KEYS[tonumber(ARGV[at + 3 + i])] end
  at = at + 4 + answers
  for _ = 1, entries do
    local mark
    if life ~= '' then
      mark = KEYS[next_mark]
      next_mark = next_mark + 1
    end
    settle(ARGV[at], answer, mark, life, attempt, streams, at + 1)
    at = at + 1 + 2 * answers
  end
  -- Once for all of them: looking for what is too old costs as much as an entry.
  for i = 1, answers do call('XTRIM', streams[i], 'MAXLEN', '~', bound) end
  return at
end

function runs.refused(at)
  local first = at + 1
  local behind = first + 4 * tonumber(ARGV[at])
  for i = first, behind - 1, 4 do
    settle(ARGV[i], refuse, ARGV[i + 1], ARGV[i + 2], ARGV[i + 3])
  end
  return behind
end

local at = 8
while at <= #ARGV do at = runs[ARGV[at]](at + 1) end
if unstored then exceptions[#exceptions + 1] = cause end
return exceptions
