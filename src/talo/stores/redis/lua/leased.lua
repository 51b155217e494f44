-- How many messages of which list one owner holds; changes nothing. uses _messages.lua
--
-- ARGV  1 key prefix, 2 owner
-- Returns { list, how many, and so on }.

local counts, found = {}, {}
for _, value in ipairs(call('HVALS', leases_of(ARGV[2]))) do
  local list = opened(value)
  counts[list] = (counts[list] or 0) + 1
end
for list, count in pairs(counts) do
  found[#found + 1] = list
  found[#found + 1] = count
end
return found
