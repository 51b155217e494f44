-- Forget runs of one chunk. uses _messages.lua, _history.lua
--
-- ARGV  1 key prefix, 2 log, 3 chunk, then the offsets
-- Returns how many there were.

local chunk = chunk_of(ARGV[2], ARGV[3])
local forgotten = 0
for at = 4, #ARGV do
  if call('HDEL', chunk .. ':items', ARGV[at]) == 1 then
    call('APPEND', chunk .. ':gone', struct.pack('>H', tonumber(ARGV[at])))
    forgotten = forgotten + 1
  end
end
local life = call('TTL', chunk .. ':times')
if forgotten > 0 and life > 0 then
  call('EXPIRE', chunk .. ':gone', life)
end
return forgotten
