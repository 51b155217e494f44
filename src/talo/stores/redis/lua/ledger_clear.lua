-- Strike out a step of what waits in a queue. uses _messages.lua, _ledger.lua
--
-- ARGV  1 key prefix, 2 queue, 3 and 4 since when it may be fetched, as ZRANGE takes the ends, 5 how many at most
-- Returns how many.

local fields = call('ZRANGE', wait_of(ARGV[2]), ARGV[3], ARGV[4], 'BYSCORE', 'LIMIT', 0, ARGV[5])
if #fields > 0 then
  call('ZREM', wait_of(ARGV[2]), unpack(fields))
  call('HDEL', ENTRIES, unpack(fields))
end
return #fields
