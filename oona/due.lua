-- Makes a run due, never later than it is already. A claim is no whole number of
-- milliseconds: it becomes one, so that whoever holds it cannot put off or remove
-- a run that he does not know the latest of.
local function schedule(index, run, at)
  local known = tonumber(redis.call('ZSCORE', index, run) or nil)
  if known and known <= at then
    if known % 1 == 0 then return 0 end
    at = math.floor(known)
  end
  redis.call('ZADD', index, string.format('%.0f', at), run)
  return 1
end
