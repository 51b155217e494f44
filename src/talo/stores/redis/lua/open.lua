-- Open an owner, or renew it. uses _messages.lua
--
-- ARGV  1 key prefix, 2 owner, 3 lease in seconds, 4 what it says of itself
-- Returns 1.

call('ZADD', OWNERS, seconds(now + tonumber(ARGV[3])), ARGV[2])
call('HSET', INFO, ARGV[2], ARGV[4])
let_fade(ARGV[3])
return 1
