-- Messages of a list that have a text in them, the next to be fetched first; changes nothing. uses _messages.lua
--
-- ARGV  1 key prefix, 2 list, 3 how many to look at, from its end, 4 the text
-- Returns each of them, '' for those that have it not.

local raws = call('LRANGE', P .. ARGV[2], -tonumber(ARGV[3]), -1)
local found = {}
for at = #raws, 1, -1 do
  found[#found + 1] = string.find(raws[at], ARGV[4], 1, true) and raws[at] or ''
end
return found
