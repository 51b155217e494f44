-- How much waits in some queues. uses _messages.lua, _ledger.lua
--
-- ARGV  1 key prefix, then queues
-- Returns per queue how many are ready, and how many wait in all.

local found = {}
for at = 2, #ARGV do
  found[#found + 1] = call('ZCOUNT', wait_of(ARGV[at]), '-inf', seconds(now))
  found[#found + 1] = call('ZCARD', wait_of(ARGV[at]))
end
return found
