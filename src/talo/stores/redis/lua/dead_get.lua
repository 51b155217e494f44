-- Dead letters by id or task id; changes nothing. uses _messages.lua, _dead.lua
--
-- ARGV  1 key prefix, then the names
-- Returns { id, item, id, item, and so on }, each once.

local found, seen = {}, {}
for at = 2, #ARGV do
  for _, id in ipairs(ids_of(ARGV[at])) do
    local item = not seen[id] and item_of(id)
    if item then
      seen[id] = true
      found[#found + 1] = id
      found[#found + 1] = item
    end
  end
end
return found
