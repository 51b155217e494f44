-- Find runs in one chunk, the latest first; changes nothing. uses _messages.lua, _history.lua, _runs.lua
--
-- ARGV  as in _runs.lua, then: offset below which to look ('' for all), how many to find, how many to look at
-- Returns { offset to go on below and when that one ended, '' and '' at the end of the chunk; how many it looked at; the
-- offsets of those that fit }.

local groups, at = asked()
local below, limit, looks = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
local first, marks, gone = walk(groups)
local found, allowed = { '', '', 0 }, looks
local place = first and #first or #times / 8
while place > 0 do
  local offset = first and first[place] or place - 1
  place = place - 1
  if not below or offset < below then
    looks = looks - 1
    if fits(offset, marks, gone) then
      found[#found + 1] = offset
      limit = limit - 1
    end
    if (limit == 0 or looks == 0) and place > 0 then
      found[1], found[2] = string.format('%d', offset), seconds(time_of(offset))
      break
    end
  end
end
found[3] = allowed - looks
return found
