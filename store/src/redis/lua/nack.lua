-- Refuses an event. ARGV: session, id, until (0 at once), reason, most attempts.
local session, id, till, reason, most = ARGV[4], ARGV[5], ARGV[6], ARGV[7], tonumber(ARGV[8])
local refused, parked = 0, 0
local waiting = call('HGET', session_key(session), WAITED)
for _, place in ipairs(held(session, id)) do
  local seq, inbox = place[1], place[2]
  local copy = held_copy(seq, inbox, session)
  if copy then
    refused = refused + 1
    if copy.attempts >= most then
      park(copy, seq, inbox, reason)
      parked = parked + 1
    elseif till == '0' then
      ready(copy.key, seq, inbox, copy.attempts, copy.replay, reason)
    else
      call('HSET', copy.key, 'c:' .. inbox, state('w', copy.attempts, copy.replay, till, reason))
      call('ZADD', inbox_key(inbox, 't'), till, seq)
      note_due(inbox)
    end
  end
end
call('HDEL', session_key(session), id)
if refused > 0 then wake_waiting(session, waiting) end
write_sums()
write_holds()
publish()
return { refused, parked }
