-- Count the runs of one chunk that fit, by state; changes nothing. uses _messages.lua, _history.lua, _runs.lua
--
-- ARGV  as in _runs.lua
-- Returns { state, how many, and so on }.

local states = {}
for _, facet in ipairs(call('SMEMBERS', CHUNK .. ':keys')) do
  if string.sub(facet, 1, 6) == 'state:' then
    states[#states + 1] = string.sub(facet, 7)
  end
end

local groups = asked()
local first, marks, gone = walk(groups)
local numbers = {}
if not first and not since and not till and next(gone) == nil then
  for _, state in ipairs(states) do
    numbers[#numbers + 1] = state
    numbers[#numbers + 1] = call('STRLEN', CHUNK .. ':is:state:' .. state) / 2
  end
  return numbers
end

local state_of = {}
for _, state in ipairs(states) do
  for _, offset in ipairs(offsets(call('GET', CHUNK .. ':is:state:' .. state) or '')) do
    state_of[offset] = state
  end
end
local sums = {}
for place = 1, first and #first or #times / 8 do
  local offset = first and first[place] or place - 1
  local state = state_of[offset]
  if state and fits(offset, marks, gone) then
    sums[state] = (sums[state] or 0) + 1
  end
end
for state, sum in pairs(sums) do
  numbers[#numbers + 1] = state
  numbers[#numbers + 1] = sum
end
return numbers
