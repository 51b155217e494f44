-- Delete a chunk with everything in it. uses _messages.lua, _history.lua
--
-- ARGV  1 key prefix, 2 log, 3 chunk
-- Returns how many runs it held.

local chunk = chunk_of(ARGV[2], ARGV[3])
local number = call('HLEN', chunk .. ':items')
for _, facet in ipairs(call('SMEMBERS', chunk .. ':keys')) do
  call('UNLINK', chunk .. ':is:' .. facet)
end
for _, part in ipairs({ ':times', ':items', ':ids', ':keys', ':gone', ':about' }) do
  call('UNLINK', chunk .. part)
end
call('ZREM', HISTORY .. ARGV[2], ARGV[3])
return number
