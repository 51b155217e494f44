-- Since when the first message of each list waits, as far as it says; changes nothing. uses _messages.lua
--
-- ARGV  1 key prefix, then the lists
-- Returns { when it was sent, when it was due, and so on }, in the order of the lists; '' for what it does not say. The
-- body stands in base64 and a quote inside a text has a backslash before it, so these words are the headers' own.

local found = {}
for at = 2, #ARGV do
  local raw = call('LINDEX', P .. ARGV[at], -1) or ''
  found[#found + 1] = string.match(raw, '"talo%-sent":%s?([%d.e+]+)') or ''
  found[#found + 1] = string.match(raw, '"eta":%s?"([%dT:.Z+-]+)"') or ''
end
return found
