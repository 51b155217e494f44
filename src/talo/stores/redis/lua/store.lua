-- Store results and tell those who wait. uses _results.lua
--
-- ARGV  per result: key, '1' if SUCCESS, milliseconds to keep ('' for ever), payload
-- Returns 1.

for at = 1, #ARGV, 4 do
  store(ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3])
end
return 1
