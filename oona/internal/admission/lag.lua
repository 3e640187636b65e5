-- Counts the entries behind an id, without moving them. KEYS: stream.
-- ARGV: id, entries and bytes after which to stop counting (0 bytes: any number).
-- Pages grow while entries are small, so that a page of large ones stays short.
-- Result: how many were counted, and whether that is all.
local from, entries, bytes = '(' .. ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local counted, size, page = 0, 0, 1
while true do
  local found = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', page)
  counted = counted + #found
  if #found < page then return {counted, 1} end
  for _, entry in ipairs(found) do
    for _, field in ipairs(entry[2]) do size = size + #field end
  end
  if counted >= entries or bytes > 0 and size >= bytes then return {counted, 0} end
  from = '(' .. found[#found][1]
  page = math.min(page * 2, entries - counted, 128)
end
