-- Waiting messages of some tasks, among the delayed ones or in a list; changes nothing. uses _messages.lua
--
-- ARGV  1 key prefix, 2 list ('' for what is delayed), 3 how many to pass over, 4 how many to look at, then the task ids
-- Returns { how many were looked at, member of talo:delayed ('' in a list), raw, and so on }: those of the tasks, and those
-- that do not say whose they are without being decoded. From the end at which others come, so that whoever asks for the
-- next ones misses none when some have gone at the other.

local list, first = ARGV[2], tonumber(ARGV[3])
local last = first + tonumber(ARGV[4]) - 1
local wanted = {}
for at = 5, #ARGV do
  wanted[ARGV[at]] = true
end
local items
if list == '' then
  items = call('ZRANGE', DELAYED, first, last, 'REV')
else
  items = call('LRANGE', P .. list, first, last)
end
local found = { #items }
for _, item in ipairs(items) do
  local raw = list == '' and call('HGET', DELAYED_RAW, item) or list ~= '' and item
  local task = raw and task_of(raw)
  if raw and (not task or wanted[task]) then
    found[#found + 1] = list == '' and item or ''
    found[#found + 1] = raw
  end
end
return found
