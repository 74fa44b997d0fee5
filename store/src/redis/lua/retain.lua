-- Returns what a session is noted to hold and does not have: the acknowledgement was lost with other writes. ARGV: session,
-- most attempts, ids of what it has.
local session, most, has, returned = ARGV[4], tonumber(ARGV[5]), { [WAITED] = true }, 0
for n = 6, #ARGV do has[ARGV[n]] = true end
local waiting = call('HGET', session_key(session), WAITED)
for _, id in ipairs(call('HKEYS', session_key(session))) do
  if not has[id] then
    for _, h in ipairs(held(session, id)) do
      if let_go(h) then
        -- It was done with most likely: it is handed out once more, and not parked.
        ready(h.seq, h.inbox, math.min(h.attempts, most - 1), h.replay, '')
        returned = returned + 1
      end
    end
    call('HDEL', session_key(session), id)
  end
end
if returned > 0 then wake_waiting(session, waiting) end
write_freed()
publish()
return returned
