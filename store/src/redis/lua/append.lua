-- Appends. First: the spool that sends (or nothing), and the highest of its places that it knows to be here. Then of
-- each: delivery key, PX, the time it expires, event id, quota, bytes, partition, thread, head, JSON, raw, changes,
-- received, place in the spool.
local FIELDS = 14
local spool, known = ARGV[4], tonumber(ARGV[5])
local mark, upto = base .. ':in:' .. spool, 0
if spool ~= '' then
  -- Less than the spool knows: this server has lost something, and what was lost goes before anything new.
  upto = tonumber(call('GET', mark)) or 0
  if upto < known then return { 'l' .. string.format('%.0f', upto) } end
end
local m = call('HMGET', base, 'last', 'stored', 'pending')
local last, stored, pending = tonumber(m[1]) or 0, tonumber(m[2]) or 0, tonumber(m[3]) or 0
local out, any, ids, queues, claimed = {}, false, {}, {}, {}

local function append()
  for i = 6, #ARGV, FIELDS do
    local key, id, bytes = base .. ':d:' .. ARGV[i], ARGV[i + 3], tonumber(ARGV[i + 5])
    local note = ARGV[i + 2] .. ':' .. id
    local seen = call('SET', key, note, 'PX', ARGV[i + 1], 'NX', 'GET')
    local expires, first = nil, nil
    if seen then expires, first = string.match(seen, '^(%d+):(%x+)$') end
    if expires and tonumber(expires) > now_n then
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
      local seq = string.format('%.0f', last)
      call('HSET', event_key(seq), 'i', id, 'b', ARGV[i + 5], 'p', ARGV[i + 6], 'g', ARGV[i + 7], 'h', ARGV[i + 8],
        'e', ARGV[i + 9], 'r', ARGV[i + 10], 'k', ARGV[i + 11], 't', ARGV[i + 12])
      ids[#ids + 1] = id
      ids[#ids + 1] = seq
      local queue = queues[ARGV[i + 6]] or {}
      queues[ARGV[i + 6]] = queue
      queue[#queue + 1] = seq
      queue[#queue + 1] = seq
      wake_partition(ARGV[i + 6])
      out[#out + 1] = 's' .. seq
    end
    if spool ~= '' then upto = math.max(upto, tonumber(ARGV[i + 13])) end
  end
  if any then
    call_many('HSET', base .. ':ids', ids)
    for partition, queue in pairs(queues) do call_many('ZADD', base .. ':q:' .. partition, queue) end
    call('HSET', base, 'last', last, 'stored', stored, 'pending', pending)
  end
  if spool ~= '' and #out > 0 then call('SET', mark, string.format('%.0f', upto), 'PX', 604800000) end
end

-- A key of ours that is of another type fails in the middle. Nothing may remain then: a delivery key without its event
-- would drop the event when it is sent again.
local done, failure = pcall(append)
if not done then
  for _, key in ipairs(claimed) do redis.pcall('DEL', key) end
  for i = 1, #ids, 2 do
    redis.pcall('HDEL', base .. ':ids', ids[i])
    redis.pcall('DEL', event_key(ids[i + 1]))
  end
  for partition, queue in pairs(queues) do
    for i = 1, #queue, 2 do redis.pcall('ZREM', base .. ':q:' .. partition, queue[i]) end
  end
  if type(failure) == 'table' then return failure end
  return redis.error_reply(tostring(failure))
end
if any then publish() end
return out
