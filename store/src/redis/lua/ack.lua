-- Acknowledgements. Of each: session, how many events, their ids.
local out, at, woken = {}, 4, false
while at <= #ARGV do
  local session, from, to = ARGV[at], at + 2, at + 1 + tonumber(ARGV[at + 1])
  local done, over, waiting = 0, {}, nil
  for first = from, to, 1000 do
    local last = math.min(first + 999, to)
    local notes = call('HMGET', session_key(session), WAITED, unpack(ARGV, first, last))
    waiting = waiting or notes[1]
    for n = 1, last - first + 1 do
      local copies = held_by(session, notes[n + 1])
      for _, h in ipairs(copies) do
        if let_go(h) then
          local o = count(h.f, -1, 0)
          -- The milliseconds that it took, not when it was: with more than 64 bytes the event would be a flat list no more.
          local took = string.format('%.0f', math.floor((now_n - tonumber(h.since)) / 1000))
          local receipt = state('d', h.attempts, h.replay, h.since, took .. ':' .. session)
          call('HSET', h.key, 'c:' .. h.inbox, receipt, 'o', o)
          done = done + 1
        end
      end
      if #copies > 0 then over[#over + 1] = ARGV[first + n - 1] end
    end
  end
  call_many('HDEL', session_key(session), over)
  if waiting and done > 0 then
    wake_waiting(session, waiting)
    woken = true
  end
  at = to + 1
  out[#out + 1] = done
end
write_sums()
write_freed()
if woken then publish() end
return out
