-- The kinds of failures in one chunk; changes nothing. uses _messages.lua, _history.lua, _runs.lua
--
-- ARGV  as in _runs.lua; only since counts
-- Returns { fingerprint, how many, the first end, the last end, offset of the last, and so on }.

local gone = marked(call('GET', CHUNK .. ':gone') or '', {})
local kinds = {}
for _, facet in ipairs(call('SMEMBERS', CHUNK .. ':keys')) do
  if string.sub(facet, 1, 5) == 'kind:' then
    local number, first, last, latest = 0, nil, nil, nil
    for _, offset in ipairs(offsets(call('GET', CHUNK .. ':is:' .. facet) or '')) do
      local time = time_of(offset)
      if not gone[offset] and time >= since then
        number = number + 1
        first = math.min(first or time, time)
        if not last or time >= last then
          last, latest = time, offset
        end
      end
    end
    if number > 0 then
      for _, value in ipairs({ string.sub(facet, 6), number, seconds(first), seconds(last), latest }) do
        kinds[#kinds + 1] = value
      end
    end
  end
end
return kinds
