-- Delayed messages of some lists, the next to fall due first; changes nothing. uses _messages.lua
--
-- ARGV  1 key prefix, 2 rank of the first to look at, 3 how many to look at, 4 what they have in them ('' for any), then
-- the lists
-- Returns { how many were looked at, list, due, raw ('' if it has not that in it), and so on }.

local wanted = {}
for at = 5, #ARGV do
  wanted[ARGV[at]] = true
end
local members = call('ZRANGE', DELAYED, ARGV[2], tonumber(ARGV[2]) + tonumber(ARGV[3]) - 1, 'WITHSCORES')
local found = { #members / 2 }
for at = 1, #members, 2 do
  local list = string.sub(members[at], 18)
  local raw = wanted[list] and call('HGET', DELAYED_RAW, members[at])
  if raw then
    found[#found + 1] = list
    found[#found + 1] = members[at + 1]
    found[#found + 1] = string.find(raw, ARGV[4], 1, true) and raw or ''
  end
end
return found
