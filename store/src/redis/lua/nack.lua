-- Refuses an event. ARGV: session, id, until (0 at once), reason, most attempts.
local session, id, till, reason, most = ARGV[4], ARGV[5], ARGV[6], ARGV[7], tonumber(ARGV[8])
local refused, parked = 0, 0
local waiting = call('HGET', session_key(session), WAITED)
for _, h in ipairs(held(session, id)) do
  if let_go(h) then
    refused = refused + 1
    if h.attempts >= most then
      park(h, reason)
      parked = parked + 1
    elseif till == '0' then
      ready(h.seq, h.inbox, h.attempts, h.replay, reason)
    else
      call('ZADD', inbox_key(h.inbox, 't'), till, h.seq)
      call('HSET', h.key, 'c:' .. h.inbox, state('w', h.attempts, h.replay, till, reason))
      note_due(h.inbox)
    end
  end
end
call('HDEL', session_key(session), id)
if refused > 0 then wake_waiting(session, waiting) end
write_sums()
write_freed()
publish()
return { refused, parked }
