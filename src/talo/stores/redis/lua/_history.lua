-- What the scripts share about counters and history. This text is put in front of every script that says
-- "uses _history.lua"; it comes after _messages.lua.
--
-- Words
--   log      'ok' for successes, 'bad' for everything else: each is kept for a time of its own
--   chunk    a number; up to some thousands of runs of one log that were written one after the other and go together
--   offset   the place of a run in its chunk, from 0; at most 65535
--   list     offsets in the order of writing, two bytes each, the greater byte first
--   facet    what runs are found by: state:<state>, name:<task>, queue:<queue>, worker:<worker>, kind:<fingerprint>,
--            and error: for all that have an error
--
-- Keys, all of which expire
--   talo:counters:<width>:<start>       hash    task, queue and state with NULs between -> the numbers of the counter,
--                                               msgpack; the period begins at <start> and is <width> seconds long
--   talo:runs:<log>                     zset    chunk -> itself
--   talo:runs:<log>:<chunk>:times       string  when each run ended, eight bytes each (double, little-endian)
--   talo:runs:<log>:<chunk>:items       hash    offset -> the run, msgpack
--   talo:runs:<log>:<chunk>:ids         hash    bucket of an id or of a root's -> list
--   talo:runs:<log>:<chunk>:keys        set     facets that are there
--   talo:runs:<log>:<chunk>:is:<facet>  string  list
--   talo:runs:<log>:<chunk>:gone        string  list of what was forgotten, in no order
--   talo:runs:<log>:<chunk>:about       hash    begun -> when it was begun, keep -> seconds to keep the runs

local HISTORY = P .. 'talo:runs:'
local MINUTES, HOURS = { 60, 172800 }, { 3600, 1209600 }

local function chunk_of(log, number)
  return HISTORY .. log .. ':' .. number
end

-- Add to a counter: cells has how much by the number's place (from 0), see CELLS in stores/history.py.
local RAN, WAITED, RUN_BUCKETS, WAIT_BUCKETS, CELLS = 1, 2, 3, 29, 55
local function count_up(minute, names, cells, touched)
  for _, period in ipairs({ MINUTES, HOURS }) do
    local start = tonumber(minute) - tonumber(minute) % period[1]
    local key = P .. 'talo:counters:' .. period[1] .. ':' .. string.format('%d', start)
    local known = call('HGET', key, names)
    local numbers = known and cmsgpack.unpack(known) or {}
    for place = 1, CELLS do
      numbers[place] = (numbers[place] or 0) + (cells[place - 1] or 0)
    end
    call('HSET', key, names, cmsgpack.pack(numbers))
    touched[key] = period[2]
  end
end

-- The bucket of a time in seconds. As in stores/history.py.
local function bucket_of(time)
  local _, exponent = math.frexp(time * 1000)
  return math.max(0, math.min(exponent, 25))
end

-- What the settlements at these positions (from 1) would have added: sums -> place in a counter -> how much. told
-- has, in binary: the number of settlements (4 bytes), the sums of each (2 bytes, from 0, -1 for none), and for each
-- sums two columns of doubles, the run times and the waiting times of its settlements (-1 for none).
local function not_applied(told, positions)
  local wanted = {}
  for _, position in ipairs(positions) do
    wanted[position] = true
  end
  local sizes, places, settlements = {}, {}, struct.unpack('<I4', told)
  for position = 1, settlements do
    local sums = struct.unpack('<h', told, 3 + 2 * position)
    if sums >= 0 then
      if wanted[position] then
        places[#places + 1] = { sums, sizes[sums] or 0 }
      end
      sizes[sums] = (sizes[sums] or 0) + 1
    end
  end
  local columns = { [0] = 5 + 2 * settlements }
  for sums = 1, #sizes do
    columns[sums] = columns[sums - 1] + 16 * sizes[sums - 1]
  end
  local off = {}
  for _, place in ipairs(places) do
    local sums = place[1]
    local at = columns[sums] + 8 * place[2]
    off[sums] = off[sums] or { [0] = 0 }
    local less = off[sums]
    less[0] = less[0] + 1
    local function add(time, total, buckets)
      if time >= 0 then
        local bucket = buckets + bucket_of(time)
        less[total] = (less[total] or 0) + time * 1000000
        less[bucket] = (less[bucket] or 0) + 1
      end
    end
    add(struct.unpack('<d', told, at), RAN, RUN_BUCKETS)
    add(struct.unpack('<d', told, at + 8 * sizes[sums]), WAITED, WAIT_BUCKETS)
  end
  return off
end

-- From ARGV[at + 1]: number of sums, then per sums: minute; task, queue and state with NULs between; what is added to
-- which of the counter's numbers, msgpack. Then one text for not_applied. What the positions in nothing say was not
-- applied is taken off. Returns the place of that text.
local function count_all(at, nothing)
  local number = tonumber(ARGV[at + 1])
  local text = at + 2 + 3 * number
  local off = #nothing > 0 and not_applied(ARGV[text], nothing) or {}
  local touched = {}
  for sums = 0, number - 1 do
    local place = at + 2 + 3 * sums
    local cells = cmsgpack.unpack(ARGV[place + 2])
    for cell, less in pairs(off[sums] or {}) do
      cells[cell] = math.max(0, math.floor(cells[cell] - less + 0.5))
    end
    if cells[0] > 0 then
      count_up(ARGV[place], ARGV[place + 1], cells, touched)
    end
  end
  for key, keep in pairs(touched) do
    call('EXPIRE', key, keep)
  end
  return text
end

-- The chunk that runs of a log are written to now: { key, how many are in it, seconds its keys live }. A chunk ends when
-- it is full, or old enough that what is in it can go together.
local open_chunks = {}
local function open_chunk(log, keep, size)
  local span = math.max(60, keep / 8)
  local chunk = open_chunks[log]
  if chunk and chunk.number < size then
    return chunk
  end
  local last = call('ZRANGE', HISTORY .. log, -1, -1)[1]
  local key = last and chunk_of(log, last)
  local number = key and call('STRLEN', key .. ':times') / 8 or size
  local begun = key and tonumber(call('HGET', key .. ':about', 'begun')) or 0
  local life = math.ceil(keep + span + 3600)
  if number >= size or begun + span < now then
    last = string.format('%d', (tonumber(last) or 0) + 1)
    call('ZADD', HISTORY .. log, last, last)
    key, number = chunk_of(log, last), 0
    call('HSET', key .. ':about', 'begun', seconds(now))
  end
  call('EXPIRE', HISTORY .. log, life + 86400)
  if keep > tonumber(call('HGET', key .. ':about', 'keep') or '-1') then
    call('HSET', key .. ':about', 'keep', seconds(keep))
    call('EXPIRE', key .. ':about', life)
  end
  chunk = { key = key, number = number, life = life }
  open_chunks[log] = chunk
  return chunk
end

local function add_to(chunk, facet, place)
  local key = chunk.key .. ':is:' .. facet
  if call('APPEND', key, place) == 2 then
    call('EXPIRE', key, chunk.life)
    call('SADD', chunk.key .. ':keys', facet)
  end
end

local function add_id(chunk, bucket, place)
  local ids = chunk.key .. ':ids'
  call('HSET', ids, bucket, (call('HGET', ids, bucket) or '') .. place)
end

-- Keep the run at ARGV[at + 1]: log, seconds to keep it, when it ended, the run, bucket of its id, bucket of its root's
-- or '', state, task, queue, worker, fingerprint or '', '1' if it has an error.
local function keep_run(at, size)
  local chunk = open_chunk(ARGV[at + 1], tonumber(ARGV[at + 2]), size)
  local place = struct.pack('>H', chunk.number)
  call('APPEND', chunk.key .. ':times', struct.pack('<d', tonumber(ARGV[at + 3])))
  call('HSET', chunk.key .. ':items', string.format('%d', chunk.number), ARGV[at + 4])
  add_id(chunk, ARGV[at + 5], place)
  if ARGV[at + 6] ~= '' then
    add_id(chunk, ARGV[at + 6], place)
  end
  add_to(chunk, 'state:' .. ARGV[at + 7], place)
  add_to(chunk, 'name:' .. ARGV[at + 8], place)
  add_to(chunk, 'queue:' .. ARGV[at + 9], place)
  add_to(chunk, 'worker:' .. ARGV[at + 10], place)
  if ARGV[at + 11] ~= '' then
    add_to(chunk, 'kind:' .. ARGV[at + 11], place)
  end
  if ARGV[at + 12] == '1' then
    add_to(chunk, 'error:', place)
  end
  if chunk.number == 0 then
    for _, part in ipairs({ ':times', ':items', ':ids', ':keys' }) do
      call('EXPIRE', chunk.key .. part, chunk.life)
    end
  end
  chunk.number = chunk.number + 1
end
