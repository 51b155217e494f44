-- Let messages wait until another time. uses _messages.lua
--
-- ARGV  1 key prefix, 2 due (seconds by the epoch), then for each message: its member of talo:delayed ('' if it is
-- ready), list, raw as it stands in the list ('' if it is delayed), raw that says the new time (without facts)
-- Returns for each whether it was still there: 1 or 0.

local due = ARGV[2]
local moved = {}
for at = 3, #ARGV, 4 do
  local member, list, raw = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local found, taken
  if member ~= '' then
    list, raw = undelay(member)
    found, taken = raw, raw
  elseif tonumber(due) > now then
    taken = call('LREM', P .. list, 1, raw) == 1
    found = taken
  else
    -- What is ready, and is to be, stays where it stands.
    found = call('LPOS', P .. list, raw)
  end
  if taken then
    local deliveries, suspect = facts(raw)
    send(list, with_facts(ARGV[at + 3], deliveries, suspect), due)
  end
  moved[#moved + 1] = found and 1 or 0
end
return moved
