-- Keeps a process on the roll of its group and settles who leads.
-- KEYS: roll. ARGV: name, owner of the name, incarnation, ms to live, least token, note, 1 for
-- a process that had its place before, own badge, then the badges of others that are known.
-- Without badges nobody is a stranger.
-- Result: token (0 = not leading, -1 = name taken, -2 = its badge is not known,
-- -3 = another incarnation has the place), leader, then name and note of each live member,
-- and without a name what was proclaimed last.
local roll, name, owner, born = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function parse(text)
  local ends, o, b, note = string.match(text or '', '^(%d+) (%S+) (%S+) (.*)$')
  return tonumber(ends) or 0, o, b, note
end

local function member(who)
  return parse(redis.call('HGET', roll, 'member:' .. who) or '')
end

-- A bus that is out of memory refuses a script whose first write would take some, and lets
-- all that follow pass after one that takes none: places must be kept on a full bus.
redis.call('HDEL', roll, 'none')

-- A clock that was set back would let every lease last longer: all end sooner by that.
local back = (tonumber(redis.call('HGET', roll, 'clock') or '0') or 0) - now
if back > 0 then
  local fields = redis.call('HGETALL', roll)
  for i = 1, #fields, 2 do
    local ends, rest = string.match(fields[i + 1], '^(%d+)( .*)$')
    if ends and string.find(fields[i], '^member:') then
      redis.call('HSET', roll, fields[i], string.format('%.0f', math.max(0, tonumber(ends) - back)) .. rest)
    end
  end
end
redis.call('HSET', roll, 'clock', string.format('%.0f', now))

-- The last process of an owner has the place: one that comes takes it at once, and one that
-- had it does not take it back while the other lives.
local ends, o, b = member(name)
if ends > now and o ~= owner then return {'-1', name} end
if ends > now and b ~= born and ARGV[7] == '1' then return {'-3', name} end

-- The live leader, unless it is this name's own.
local me = name .. ' ' .. born
local leader = redis.call('HGET', roll, 'leader') or ''
local function elsewhere()
  local who, when = string.match(leader, '^(.*) (%S+)$')
  local until_, _, b = member(who or '')
  if until_ > now and b == when and who ~= name then return who end
end

-- Whether a live member shows a badge that is not known.
local function stranger(who)
  local ends, _, b = member(who)
  local when, badge = string.match(redis.call('HGET', roll, 'badge:' .. who) or '', '^(%S+) (%S+)$')
  if ends <= now or who == name or when ~= b then return false end
  for i = 8, #ARGV do
    if ARGV[i] == badge then return false end
  end
  return true
end

local function names()
  local list = {}
  for _, field in ipairs(redis.call('HKEYS', roll)) do
    list[#list + 1] = string.match(field, '^member:(.*)$')
  end
  return list
end

-- Its leader speaks for a group, and while none leads those who are left.
local other = elsewhere()
if ARGV[8] ~= '' and leader ~= me then
  for _, who in ipairs(other and {other} or names()) do
    if stranger(who) then return {'-2', who} end
  end
end

redis.call('HSET', roll, 'member:' .. name,
  string.format('%.0f', now + ARGV[4]) .. ' ' .. owner .. ' ' .. born .. ' ' .. ARGV[6])

if ARGV[8] ~= '' then redis.call('HSET', roll, 'badge:' .. name, born .. ' ' .. ARGV[8]) end

if leader ~= me and not other then
  local token = math.max((tonumber(redis.call('HGET', roll, 'token') or '0') or 0) + 1, tonumber(ARGV[5]))
  redis.call('HSET', roll, 'leader', me)
  redis.call('HSET', roll, 'token', string.format('%.0f', token))
  leader = me
end

local answer = {'0', string.match(leader, '^(.*) %S+$')}
if leader == me then answer[1] = redis.call('HGET', roll, 'token') end
local fields = redis.call('HGETALL', roll)
for i = 1, #fields, 2 do
  local who = string.match(fields[i], '^member:(.*)$')
  if who then
    local ends, _, _, note = parse(fields[i + 1])
    if ends > now then
      answer[#answer + 1] = who
      answer[#answer + 1] = note
    elseif ends < now - 3600000 then
      redis.call('HDEL', roll, fields[i], 'badge:' .. who)
    end
  end
end
local proclaimed = redis.call('HGET', roll, 'proclaimed')
if proclaimed then
  answer[#answer + 1] = ''
  answer[#answer + 1] = proclaimed
end
return answer
