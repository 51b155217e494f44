-- Send messages of which some are delayed or which go to several lists: all in one step. uses _messages.lua
--
-- ARGV  1 key prefix, then per message: list, raw, due (seconds by the epoch, '' at once)
-- Returns 1.

for at = 2, #ARGV, 3 do
  send(ARGV[at], ARGV[at + 1], ARGV[at + 2])
end
return 1
