-- What the scripts share that search history. This text is put in front of every script that says "uses _runs.lua"; it
-- comes after _history.lua.
--
-- ARGV  1 key prefix, 2 log, 3 chunk, 4 since and 5 until (seconds by the epoch, '' for any), 6 bucket of an id ('' for
-- any), 7 number of groups, then per group: how many facets, the facets. A run fits if it has one facet of each group.
-- Records are never read here: handing their bytes to Lua would be most of the work, and the caller looks at them itself.

local CHUNK = chunk_of(ARGV[2], ARGV[3])

-- The offsets of a list.
local function offsets(list)
  local found = {}
  for first = 1, #list, 4000 do
    local bytes = { string.byte(list, first, math.min(first + 3999, #list)) }
    for at = 1, #bytes, 2 do
      found[#found + 1] = bytes[at] * 256 + bytes[at + 1]
    end
  end
  return found
end

local function marked(list, marks)
  for _, offset in ipairs(offsets(list)) do
    marks[offset] = true
  end
  return marks
end

local times = call('GET', CHUNK .. ':times') or ''

local function time_of(offset)
  return (struct.unpack('<d', times, 8 * offset + 1))
end

-- The lists that a run must stand in one of, group by group; and the place of the last argument of the question.
local function asked()
  local groups, at = {}, 7
  for _ = 1, tonumber(ARGV[7]) do
    local group = {}
    for facet = at + 2, at + 1 + tonumber(ARGV[at + 1]) do
      group[#group + 1] = call('GET', CHUNK .. ':is:' .. ARGV[facet]) or ''
    end
    at = at + 1 + tonumber(ARGV[at + 1])
    groups[#groups + 1] = group
  end
  if ARGV[6] ~= '' then
    groups[#groups + 1] = { call('HGET', CHUNK .. ':ids', ARGV[6]) or '' }
  end
  return groups, at
end

local function length_of(group)
  local length = 0
  for _, list in ipairs(group) do
    length = length + #list
  end
  return length
end

-- What to walk: offsets in rising order, or nil for all; the marks that each must have; what is gone.
local function walk(groups)
  table.sort(groups, function(one, other) return length_of(one) < length_of(other) end)
  local first, marks = nil, {}
  for number, group in ipairs(groups) do
    if number == 1 and #group == 1 then
      first = offsets(group[1])
    else
      local found = {}
      for _, list in ipairs(group) do
        marked(list, found)
      end
      if number == 1 then
        first = {}
        for offset in pairs(found) do
          first[#first + 1] = offset
        end
        table.sort(first)
      else
        marks[#marks + 1] = found
      end
    end
  end
  return first, marks, marked(call('GET', CHUNK .. ':gone') or '', {})
end

-- Whether the run at this offset fits.
local since, till = tonumber(ARGV[4]), tonumber(ARGV[5])
local function fits(offset, marks, gone)
  if gone[offset] then
    return false
  end
  for _, mark in ipairs(marks) do
    if not mark[offset] then
      return false
    end
  end
  if since or till then
    local time = time_of(offset)
    if (since and time < since) or (till and time >= till) then
      return false
    end
  end
  return true
end
