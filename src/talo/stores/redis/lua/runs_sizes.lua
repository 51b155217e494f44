-- The chunks of a log, the latest first, and what is in them; changes nothing. uses _messages.lua, _history.lua
--
-- ARGV  1 key prefix, 2 log, 3 and 4 an id and its bucket, or '' and '': then only chunks with a run that names this id
-- Returns { chunk, how many runs, when the first and the last of them ended, '1' if its time is over, and so on }.

-- Buckets are shared, so there is one in nearly every chunk; the record has the id.
local function names(chunk, id, bucket)
  local list = call('HGET', chunk .. ':ids', bucket) or ''
  for at = 1, #list, 2 do
    local item = call('HGET', chunk .. ':items', (struct.unpack('>H', list, at)))
    if item and string.find(item, id, 1, true) then
      return true
    end
  end
  return false
end

local sizes = {}
for _, number in ipairs(call('ZRANGE', HISTORY .. ARGV[2], 0, -1, 'REV')) do
  local chunk = chunk_of(ARGV[2], number)
  if ARGV[3] == '' or names(chunk, ARGV[3], ARGV[4]) then
    local length = call('STRLEN', chunk .. ':times')
    local first, last = 0, 0
    if length > 0 then
      first = struct.unpack('<d', call('GETRANGE', chunk .. ':times', 0, 7), 1)
      last = struct.unpack('<d', call('GETRANGE', chunk .. ':times', length - 8, length - 1), 1)
    end
    local over = length == 0 or last + tonumber(call('HGET', chunk .. ':about', 'keep') or '0') <= now
    for _, value in ipairs({ number, length / 8, seconds(first), seconds(last), over and '1' or '0' }) do
      sizes[#sizes + 1] = value
    end
  end
end
return sizes
