-- Mark members of a set, each for its own time; the set goes when its last mark does.
--
-- KEYS  1 the marks, a zset: member -> when its mark ends, seconds by this server's clock
-- ARGV  per mark: seconds, member
-- Returns 1.

local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.6f', now))
for at = 1, #ARGV, 2 do
  redis.call('ZADD', KEYS[1], string.format('%.6f', now + tonumber(ARGV[at])), ARGV[at + 1])
end
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', math.ceil(tonumber(last[2]) * 1000)))
return 1
