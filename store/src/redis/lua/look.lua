-- Looks without a change. ARGV: `event` and id; `events`, before and how many; `dead`, inbox, after and how many;
-- `dead_inboxes`, after which or nothing, and how many; `inbox` and inbox; `depth` and the number of partitions.
local what = ARGV[4]
if what == 'event' then
  local seq = call('HGET', base .. ':ids', ARGV[5])
  if not seq then return {} end
  return { seq, call('HGETALL', event_key(seq)) }
elseif what == 'events' then
  local m = call('HMGET', base, 'last', 'first')
  local first = tonumber(m[2]) or 1
  local from = math.min((tonumber(ARGV[5]) or 0) - 1, tonumber(m[1]) or 0)
  local to = math.max(from - tonumber(ARGV[6]) + 1, first)
  local out = {}
  for n = from, to, -1 do
    local seq = string.format('%.0f', n)
    local f = call('HMGET', event_key(seq), 'h')
    if f[1] then out[#out + 1] = { seq, f[1], call('HEXISTS', event_key(seq), 'd') } end
  end
  -- How many places were looked at, and the lowest of them if there are more below.
  return { math.max(from - to + 1, 0), (from >= to and to > first) and to or 0, out }
elseif what == 'dead' then
  local out = {}
  local places = call('ZRANGEBYSCORE', inbox_key(ARGV[5], 'x'), '(' .. ARGV[6], '+inf', 'LIMIT', 0, ARGV[7])
  for _, seq in ipairs(places) do
    local f = call('HMGET', event_key(seq), 'i', 'b', 'c:' .. ARGV[5])
    if f[3] then out[#out + 1] = { seq, f[1], f[2], f[3] } end
  end
  return out
elseif what == 'dead_inboxes' then
  -- All have the score 0, so the order is that of their bytes.
  local from = ARGV[5] == '' and '-' or '(' .. ARGV[5]
  return call('ZRANGEBYLEX', base .. ':dead', from, '+', 'LIMIT', 0, ARGV[6])
elseif what == 'inbox' then
  local w, t = inbox_key(ARGV[5], 'w'), inbox_key(ARGV[5], 't')
  local oldest = call('ZRANGE', w, 0, 0)[1]
  for _, seq in ipairs(call('ZRANGE', t, 0, -1)) do
    if not oldest or tonumber(seq) < tonumber(oldest) then oldest = seq end
  end
  local head = oldest and call('HGET', event_key(oldest), 'h') or ''
  local held_here = 0
  for _, n in ipairs(call('HVALS', inbox_key(ARGV[5], 'h'))) do held_here = held_here + tonumber(n) end
  return { call('ZCARD', w) + call('ZCARD', t), held_here, call('ZCARD', inbox_key(ARGV[5], 'x')), head or '' }
end
local m = call('HMGET', base, 'last', 'pending', 'stored', 'dead', 'dead_bytes')
local waiting = 0
for partition = 0, tonumber(ARGV[5]) - 1 do waiting = waiting + call('ZCARD', base .. ':q:' .. partition) end
return { tonumber(m[1]) or 0, waiting, tonumber(m[2]) or 0, tonumber(m[3]) or 0, tonumber(m[4]) or 0, tonumber(m[5]) or 0 }
