-- What the scripts share about results. This text is put in front of every script that says "uses _results.lua".
--
-- Keys
--   celery-task-meta-<id>     string, the encoded result; the channel of the same name carries it to whoever waits
--   celery-task-meta-<id>.ok  string, there beside a SUCCESS of Talo's that is compressed and cannot be read here

local COMPRESSED = '\0celery-compressed\0'

local function is_compressed(payload)
  return string.sub(payload, 1, #COMPRESSED) == COMPRESSED
end

-- Whether a stored result says SUCCESS. Formats that are not read here (pickle, yaml) show the state as plain text behind
-- the first "status", as peek.py knows too.
local function says_success(key)
  local payload = redis.call('GET', key)
  if not payload then
    return false
  end
  if is_compressed(payload) then
    return redis.call('EXISTS', key .. '.ok') == 1
  end
  if not string.find(payload, 'SUCCESS', 1, true) then
    return false
  end
  local ok, document = pcall(cjson.decode, payload)
  if not ok then
    ok, document = pcall(cmsgpack.unpack, payload)
  end
  if ok and type(document) == 'table' and document.status then
    return document.status == 'SUCCESS'
  end
  local _, at = string.find(payload, 'status', 1, true)
  return at ~= nil and string.match(string.sub(payload, at + 1, at + 24), '%u%u%u+') == 'SUCCESS'
end

local function put(key, ttl, payload)
  if ttl == '' then
    redis.call('SET', key, payload)
  else
    redis.call('SET', key, payload, 'PX', ttl)
  end
end

-- Store and tell. ttl: milliseconds, '' for ever. success: '1' if it is a SUCCESS itself, which alone may replace one.
local function store(key, success, ttl, payload)
  if success ~= '1' and says_success(key) then
    return
  end
  put(key, ttl, payload)
  if success == '1' and is_compressed(payload) then
    put(key .. '.ok', ttl, '')
  end
  redis.call('PUBLISH', key, payload)
end
