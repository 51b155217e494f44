-- Every open owner, earliest end first. uses _messages.lua
--
-- ARGV  1 key prefix
-- Returns { owner, what it said of itself, seconds until its lease ends, leases held, and so on }.

local found = {}
local open = call('ZRANGE', OWNERS, 0, -1, 'WITHSCORES')
for at = 1, #open, 2 do
  local owner = open[at]
  found[#found + 1] = owner
  found[#found + 1] = call('HGET', INFO, owner) or ''
  found[#found + 1] = seconds(tonumber(open[at + 1]) - now)
  found[#found + 1] = call('HLEN', leases_of(owner))
end
return found
