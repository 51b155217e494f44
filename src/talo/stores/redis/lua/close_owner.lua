-- Forget an owner that holds nothing. uses _messages.lua
--
-- ARGV  1 key prefix, 2 owner
-- Returns 1 if it was forgotten.

if call('EXISTS', leases_of(ARGV[2])) == 1 then
  return 0
end
call('SREM', HOLDING, ARGV[2])
call('HDEL', INFO, ARGV[2])
return call('ZREM', OWNERS, ARGV[2])
