-- Counts what the bound of a stream removed before a live group had read it:
-- once, however many processes look. KEYS: stream, ledger. ARGV: ms of silence
-- after which a group is dead.
-- The ledger holds the total, and for each group the entries that were ever
-- added at the last look, whether it had a read counter, and how many entries it
-- never saw: Redis takes the number of entries it has read for its place, so it
-- is further on than Redis thinks by that many.
-- Result: name, entries never seen, and new losses, of each group.
local stream, ledger, silence = KEYS[1], KEYS[2], tonumber(ARGV[1])

local function fields(list)
  local map = {}
  for i = 1, #list, 2 do map[list[i]] = list[i + 1] end
  return map
end

local function alive(group)
  for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', stream, group)) do
    if fields(consumer).idle < silence then return true end
  end
  return false
end

local info = fields(redis.call('XINFO', 'STREAM', stream))
local added, last = info['entries-added'], info['last-generated-id']
local gone = added - info.length

-- How many entries a group has read, nil while Redis does not know: after a replay of its
-- log it has forgotten, until the group reads again.
local function read(group)
  return group['entries-read'] or group['last-delivered-id'] == '0-0' and 0 or nil
end

-- How many entries a group never saw, and how many of them are news.
local function look(group, known)
  local read = read(group)
  local before, counted, unseen = string.match(known or '', '^(%d+) (%d) (%d+)$')
  local first = not before or tonumber(before) > added -- or another stream of this name
  unseen = first and 0 or tonumber(unseen)
  if counted == '0' and group['entries-read'] then unseen = 0 end -- Redis knows its place from now on
  local now = unseen
  if not read then
    -- It is where it was, and what it has lost there nobody can say.
  elseif group['last-delivered-id'] == last then
    now = math.max(unseen, added - read) -- it has read to the end
  elseif gone > read + unseen then
    now = gone - read
  end
  -- What was lost before the first look was never this group's to read.
  return now, first and 0 or now - unseen
end

local result, seen = {}, {total = true}
for _, list in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
  local group = fields(list)
  local field = 'group:' .. group.name
  local unseen, new = look(group, redis.call('HGET', ledger, field))
  redis.call('HSET', ledger, field,
    string.format('%.0f %d %.0f', added, group['entries-read'] and 1 or 0, unseen))
  if new > 0 and alive(group.name) then
    redis.call('HINCRBY', ledger, 'total', new)
  else
    new = 0
  end
  seen[field] = true
  for _, value in ipairs({group.name, unseen, new}) do result[#result + 1] = value end
end
for _, field in ipairs(redis.call('HKEYS', ledger)) do
  if not seen[field] then redis.call('HDEL', ledger, field) end
end
return result
