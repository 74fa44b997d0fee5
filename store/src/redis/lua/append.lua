-- Appends events whose payloads came just before. A delivery key counts from the receipt of its event, whenever that comes
-- here. First: the spool that sends (or nothing), and the highest of its places that it knows to be here. Then of each:
-- delivery key, PX, the time it expires, event id, quota, bytes, partition, thread, lengths of head and JSON in the payload,
-- changes, received, place in the spool.
local FIELDS = 12
local spool, known = ARGV[4], tonumber(ARGV[5])
local mark, upto = base .. ':in:' .. spool, 0
if spool ~= '' then
  -- Less than the spool knows: this server has lost something, and what was lost goes before anything new.
  upto = tonumber(call('GET', mark)) or 0
  if upto < known then return { 'l' .. string.format('%.0f', upto) } end
end
local m = call('HMGET', base, 'last', 'stored', 'pending', 'wakes')
local last, stored, pending = tonumber(m[1]) or 0, tonumber(m[2]) or 0, tonumber(m[3]) or 0
local wakes = (tonumber(m[4]) or 0) + 1
local out, any, ids, queues, claimed = {}, false, {}, {}, {}

-- Its payload has a short life until this makes it last: what is never appended is cleared up by itself.
local function keep_payload(id)
  local key = payload_key(id)
  if call('PERSIST', key) == 0 and call('EXISTS', key) == 0 then error('the payload did not come') end
end

local function append()
  for i = 6, #ARGV, FIELDS do
    local key, id, bytes = base .. ':d:' .. ARGV[i], ARGV[i + 3], tonumber(ARGV[i + 5])
    local note, here = ARGV[i + 2] .. ':' .. id, spool ~= '' and tonumber(ARGV[i + 11]) <= upto
    -- What the mark covers has been here, however long ago that was.
    local seen = not here and call('SET', key, note, 'PX', ARGV[i + 1], 'NX', 'GET')
    local expires, first = nil, nil
    if seen then expires, first = string.match(seen, '^(%d+):(%x+)$') end
    if here then
      out[#out + 1] = 'd' .. id
    elseif expires and tonumber(expires) > tonumber(ARGV[i + 10]) then
      out[#out + 1] = 'd' .. first
    elseif pending + bytes > tonumber(ARGV[i + 4]) then
      if not seen then call('DEL', key) end
      out[#out + 1] = 'q' .. string.format('%.0f', pending)
      -- A later one of its thread may be smaller, and would overtake it.
      if spool ~= '' then break end
    else
      if seen then call('SET', key, note, 'PX', ARGV[i + 1]) end
      claimed[#claimed + 1] = key
      last, stored, pending, any = last + 1, stored + bytes, pending + bytes, true
      local seq, partition, lengths = string.format('%.0f', last), ARGV[i + 6], ARGV[i + 8]
      ids[#ids + 1] = id
      ids[#ids + 1] = seq
      keep_payload(id)
      call('HSET', event_key(seq), 'i', id, 'b', ARGV[i + 5], 'p', partition, 'g', ARGV[i + 7], 'l', lengths,
        't', ARGV[i + 10])
      local queue = queues[partition] or {}
      queues[partition] = queue
      queue[#queue + 1] = seq
      -- All that who routes wants to know: it reads this and the payload, and no script is run for it.
      queue[#queue + 1] = id .. ':' .. lengths .. '@' .. ARGV[i + 7] .. ':' .. ARGV[i + 9]
      wake_partition(partition)
      out[#out + 1] = 's' .. seq
    end
    if spool ~= '' then upto = math.max(upto, tonumber(ARGV[i + 11])) end
  end
  if any then
    call_many('HSET', base .. ':ids', ids)
    for partition, queue in pairs(queues) do call_many('ZADD', base .. ':q:' .. partition, queue) end
    call('HSET', base, 'last', last, 'stored', stored, 'pending', pending, 'wakes', wakes)
  end
  -- A mark that is not there reads like a loss, so it stays far longer than a tenant is quiet.
  if spool ~= '' and #out > 0 then call('SET', mark, string.format('%.0f', upto), 'PX', 34560000000) end
end

-- A key of ours that is of another type fails in the middle. Nothing may remain then: a delivery key without its event
-- would drop the event when it is sent again.
local done, failure = pcall(append)
if not done then
  for _, key in ipairs(claimed) do redis.pcall('DEL', key) end
  for i = 1, #ids, 2 do
    redis.pcall('HDEL', base .. ':ids', ids[i])
    redis.pcall('DEL', event_key(ids[i + 1]))
    redis.pcall('PEXPIRE', payload_key(ids[i]), 600000)
  end
  for partition, queue in pairs(queues) do
    for i = 2, #queue, 2 do redis.pcall('ZREM', base .. ':q:' .. partition, queue[i]) end
  end
  if type(failure) == 'table' then return failure end
  return redis.error_reply(tostring(failure))
end
if any then publish(wakes) end
return out
