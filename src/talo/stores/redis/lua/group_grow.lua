-- Let an open group wait for more members. uses _messages.lua, _groups.lua
--
-- ARGV  1 key prefix, 2 group, 3 how many more
-- Returns its new size, or 0 if there is no such open group.

local key = group_of(ARGV[2])
if call('HEXISTS', key, 'size') == 0 then
  return 0
end
return call('HINCRBY', key, 'size', ARGV[3])
