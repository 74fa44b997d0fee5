-- Appends. Of each: delivery key, PX, the time it expires, event id, quota, bytes, partition, head,
-- JSON, raw, changes, received.
local FIELDS = 12
local m = call('HMGET', base, 'last', 'stored', 'pending')
local last, stored, pending = tonumber(m[1]) or 0, tonumber(m[2]) or 0, tonumber(m[3]) or 0
local out, any, ids, queues = {}, false, {}, {}
for i = 4, #ARGV, FIELDS do
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
  else
    if seen then call('SET', key, note, 'PX', ARGV[i + 1]) end
    last, stored, pending, any = last + 1, stored + bytes, pending + bytes, true
    local seq = string.format('%.0f', last)
    call('HSET', event_key(seq), 'i', id, 'b', ARGV[i + 5], 'p', ARGV[i + 6], 'h', ARGV[i + 7], 'e', ARGV[i + 8],
      'r', ARGV[i + 9], 'k', ARGV[i + 10], 't', ARGV[i + 11])
    ids[#ids + 1] = id
    ids[#ids + 1] = seq
    local queue = queues[ARGV[i + 6]] or {}
    queues[ARGV[i + 6]] = queue
    queue[#queue + 1] = seq
    queue[#queue + 1] = seq
    wake_partition(ARGV[i + 6])
    out[#out + 1] = 's' .. seq
  end
end
if any then
  call_many('HSET', base .. ':ids', ids)
  for partition, queue in pairs(queues) do call_many('ZADD', base .. ':q:' .. partition, queue) end
  call('HSET', base, 'last', last, 'stored', stored, 'pending', pending)
  publish()
end
return out
