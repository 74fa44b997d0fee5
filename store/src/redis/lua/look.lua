-- Looks without a change. ARGV: `event` and id; `events`, before and how many; `dead`, inbox, after and how many;
-- `dead_inboxes`, after which or nothing, and how many; `inbox` and inbox; `depth` and the number of partitions.
local what = ARGV[4]
local function head_of(id, lengths)
  local length = tonumber(string.match(lengths or '', '^(%d+)')) or 0
  return length > 0 and call('GETRANGE', payload_key(id), 0, length - 1) or ''
end
if what == 'event' then
  local seq = call('HGET', base .. ':ids', ARGV[5])
  local fields = seq and call('HGETALL', event_key(seq)) or {}
  if #fields == 0 then return {} end
  -- A copy that waits may be held: the session notes that.
  local thread, copies = call('HGET', event_key(seq), 'g') or '', {}
  for n = 1, #fields, 2 do
    local inbox, copy = string.match(fields[n], '^c:(%x+)$'), fields[n + 1]
    if inbox then
      local session = string.sub(copy, 1, 1) == 'w' and holder_of(call('HGET', inbox_key(inbox, 'h'), thread))
      for _, h in ipairs(session and held(session, ARGV[5]) or {}) do
        if h.seq == seq and h.inbox == inbox then
          copy = state('h', h.attempts, h.replay, h.since, h.session .. ':' .. h.pull)
        end
      end
      copies[#copies + 1] = { inbox, copy }
    end
  end
  return { seq, call('HGET', event_key(seq), 'l') or '', call('GET', payload_key(ARGV[5])) or '',
    call('GET', why_key(seq)) or false, copies }
elseif what == 'events' then
  local m = call('HMGET', base, 'last', 'first')
  local first = tonumber(m[2]) or 1
  local from = math.min((tonumber(ARGV[5]) or 0) - 1, tonumber(m[1]) or 0)
  local to = math.max(from - tonumber(ARGV[6]) + 1, first)
  local out = {}
  for n = from, to, -1 do
    local seq = string.format('%.0f', n)
    local f = call('HMGET', event_key(seq), 'i', 'l', 'o')
    if f[1] then out[#out + 1] = { seq, head_of(f[1], f[2]), f[3] and 1 or 0 } end
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
  -- Of many that are delayed, those that were refused first are the oldest most likely.
  for _, seq in ipairs(call('ZRANGE', t, 0, 99)) do
    if not oldest or tonumber(seq) < tonumber(oldest) then oldest = seq end
  end
  local f = oldest and call('HMGET', event_key(oldest), 'i', 'l') or {}
  local held_here = 0
  for _, text in ipairs(call('HVALS', inbox_key(ARGV[5], 'h'))) do
    local _, n = holder_of(text)
    held_here = held_here + n
  end
  local head = f[1] and head_of(f[1], f[2]) or ''
  return { call('ZCARD', w) + call('ZCARD', t), held_here, call('ZCARD', inbox_key(ARGV[5], 'x')), head }
end
local m = call('HMGET', base, 'last', 'pending', 'stored', 'dead', 'dead_bytes')
local waiting = 0
for partition = 0, tonumber(ARGV[5]) - 1 do waiting = waiting + call('ZCARD', base .. ':q:' .. partition) end
return { tonumber(m[1]) or 0, waiting, tonumber(m[2]) or 0, tonumber(m[3]) or 0, tonumber(m[4]) or 0, tonumber(m[5]) or 0 }
