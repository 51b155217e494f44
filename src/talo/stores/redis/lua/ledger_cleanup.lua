-- Delete entries that nobody has struck out in time. uses _messages.lua, _ledger.lua
--
-- ARGV  1 key prefix, 2 seconds for which an entry is kept, 3 how many at most
-- Returns how many.

local before, left = seconds(now - ARGV[2]), tonumber(ARGV[3])
local held = call('ZRANGE', HELD, '-inf', before, 'BYSCORE', 'LIMIT', 0, left)
if #held > 0 then
  let_go(held)
  call('HDEL', ENTRIES, unpack(held))
end
left = left - #held
for _, queue in ipairs(call('SMEMBERS', QUEUES)) do
  if left > 0 then
    local fields = call('ZRANGE', wait_of(queue), '-inf', before, 'BYSCORE', 'LIMIT', 0, left)
    if #fields > 0 then
      call('ZREM', wait_of(queue), unpack(fields))
      call('HDEL', ENTRIES, unpack(fields))
    end
    left = left - #fields
  end
end
return tonumber(ARGV[3]) - left
