-- All there is of some tasks. uses _messages.lua, _ledger.lua
--
-- ARGV  1 key prefix, then task ids
-- Returns field, value and holder ('' if it waits) of each entry.

local found = {}
local queues = call('SMEMBERS', QUEUES)
for at = 2, #ARGV do
  for _, queue in ipairs(queues) do
    local field = #queue .. ':' .. queue .. ARGV[at]
    local value = call('HGET', ENTRIES, field)
    if value then
      found[#found + 1] = field
      found[#found + 1] = value
      found[#found + 1] = call('HGET', HOLDERS, field) or ''
    end
  end
end
return found
