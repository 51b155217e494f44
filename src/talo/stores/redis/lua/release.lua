-- Give a lock back.
--
-- KEYS  1 the lock, a string: its holder
-- ARGV  1 holder
-- Returns 1 if the holder had it, else 0.

if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
return redis.call('DEL', KEYS[1])
