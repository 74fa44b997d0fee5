-- Where a copy goes is written first and its state last: whatever fails in between loses nothing when it is done again.
local function park(h, reason)
  call('ZADD', inbox_key(h.inbox, 'x'), h.seq, h.seq)
  call('ZADD', base .. ':dead', 0, h.inbox)
  local o, x = count(h.f, -1, 1)
  call('HSET', h.key, 'c:' .. h.inbox, state('x', h.attempts, h.replay, now, reason), 'o', o, 'x', x)
end

-- A parked copy is none any more.
local function unpark(seq, inbox)
  local x = inbox_key(inbox, 'x')
  call('ZREM', x, seq)
  if call('EXISTS', x) == 0 then call('ZREM', base .. ':dead', inbox) end
end
