-- The chunks of a log, the latest first, and what is in them; changes nothing. uses _messages.lua, _history.lua
--
-- ARGV  1 key prefix, 2 log
-- Returns { chunk, how many runs, when the first and the last of them ended, '1' if its time is over, and so on }.

local sizes = {}
for _, number in ipairs(call('ZRANGE', HISTORY .. ARGV[2], 0, -1, 'REV')) do
  local chunk = chunk_of(ARGV[2], number)
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
return sizes
