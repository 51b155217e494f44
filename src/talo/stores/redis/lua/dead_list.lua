-- Dead letters, latest first; changes nothing. uses _messages.lua, _dead.lua
--
-- ARGV  1 key prefix, 2 rank of the first (0 is the latest), 3 how many to look at
-- Returns { how many were looked at, id, item, id, item, and so on }, without those that have ended.

local first, most = tonumber(ARGV[2]), tonumber(ARGV[3])
local ids = call('ZRANGE', DEAD, first, first + most - 1, 'REV')
local found = { #ids }
for _, id in ipairs(ids) do
  local item = item_of(id)
  if item then
    found[#found + 1] = id
    found[#found + 1] = item
  end
end
return found
