-- Make delayed messages ready whatever their time, in the form that the caller gives them. uses _messages.lua
--
-- ARGV  1 key prefix, then for each message: its member of talo:delayed, list, raw
-- Returns how many were still delayed, and are ready now.

local moved = 0
for at = 2, #ARGV, 3 do
  local member, list, raw = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  if undelay(member) then
    call('LPUSH', P .. list, raw)
    moved = moved + 1
  end
end
return moved
