-- Returns copies with their attempt refunded. ARGV: session, process, the highest number and the numbers of pulls whose
-- answers reached nobody.
local session, process = ARGV[4], ARGV[5]
local wanted = {}
revoke(session, process, ARGV[6])
for n = 7, #ARGV do wanted[process .. '-' .. ARGV[n]] = true end
local returned, waiting = 0, call('HGET', session_key(session), WAITED)
for _, id in ipairs(call('HKEYS', session_key(session))) do
  local left, places = {}, held(session, id)
  for _, place in ipairs(places) do
    local seq, inbox = place[1], place[2]
    local text = call('HGET', event_key(seq), 'c:' .. inbox)
    local mine = text and wanted[string.match(text, '([^:]*)$')]
    local copy = mine and held_copy(seq, inbox, session)
    if copy then
      ready(copy.key, seq, inbox, math.max(copy.attempts - 1, 0), copy.replay, '')
      returned = returned + 1
    else
      left[#left + 1] = note_of(seq, inbox, place[3])
    end
  end
  if #left == 0 then
    call('HDEL', session_key(session), id)
  elseif #left < #places then
    call('HSET', session_key(session), id, table.concat(left))
  end
end
wake_waiting(session, waiting)
write_holds()
publish()
return returned
