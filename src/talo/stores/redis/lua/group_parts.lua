-- Add parts outside of a settlement. uses _messages.lua, _groups.lua
--
-- ARGV  1 key prefix, then per part: group, member, index, payload, how many more members it adds, list, raw, milliseconds (see turn.lua)
-- Returns list and raw of every continuation that is to be sent now.

local due = {}
for at = 2, #ARGV, 8 do
  local list, raw = add_part(ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4], true,
    ARGV[at + 5], ARGV[at + 6], ARGV[at + 7])
  if list then
    due[#due + 1] = list
    due[#due + 1] = raw
  end
end
return due
