-- What the scripts share about results. This text is put in front of every script that says "uses _results.lua".
--
-- Keys
--   celery-task-meta-<id>  string, the encoded result; the channel of the same name carries it to whoever waits.

-- Whether a stored result says SUCCESS. Encodings that this server cannot read (pickle, yaml, compressed) count as not.
local function says_success(payload)
  if not payload or not string.find(payload, 'SUCCESS', 1, true) then
    return false
  end
  local ok, document = pcall(cjson.decode, payload)
  if not ok then
    ok, document = pcall(cmsgpack.unpack, payload)
  end
  return ok and type(document) == 'table' and document.status == 'SUCCESS'
end

-- Store and tell. ttl: milliseconds, '' for ever. success: '1' if it is a SUCCESS itself, which alone may replace one.
local function store(key, success, ttl, payload)
  if success ~= '1' and says_success(redis.call('GET', key)) then
    return
  end
  if ttl == '' then
    redis.call('SET', key, payload)
  else
    redis.call('SET', key, payload, 'PX', ttl)
  end
  redis.call('PUBLISH', key, payload)
end
