-- Delete dead letters and send messages in their place, or do nothing if one of them is gone. uses _messages.lua,
-- _dead.lua
--
-- ARGV  1 key prefix, 2 number of names, then the names (ids or task ids), then per message: list, raw, due ('' at
-- once) Returns how many names there were, 0 if nothing was done.

local names = tonumber(ARGV[2])
local doomed = {}
for at = 3, 2 + names do
  local there = false
  for _, id in ipairs(ids_of(ARGV[at])) do
    if item_of(id) then
      there = true
      doomed[#doomed + 1] = id
    end
  end
  if not there then
    return 0
  end
end
for _, id in ipairs(doomed) do
  delete(id)
end
for at = 3 + names, #ARGV, 3 do
  send(ARGV[at], ARGV[at + 1], ARGV[at + 2])
end
return names
