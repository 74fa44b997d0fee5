-- Acknowledgements. Of each: session, how many events, their ids.
local out, at = {}, 4
while at <= #ARGV do
  local session, ids = ARGV[at], tonumber(ARGV[at + 1])
  local done, over = 0, {}
  for n = at + 2, at + 1 + ids do
    local id = ARGV[n]
    local places = held(session, id)
    for _, place in ipairs(places) do
      local seq, inbox = place[1], place[2]
      local copy = held_copy(seq, inbox, session)
      if copy then
        local rest = now .. ':' .. session
        call('HSET', copy.key, 'c:' .. inbox, state('d', copy.attempts, copy.replay, copy.since, rest))
        count(copy.key, copy.f, -1, 0)
        done = done + 1
      end
    end
    if #places > 0 then call('HDEL', session_key(session), id) end
  end
  at = at + 2 + ids
  out[#out + 1] = done
end
write_sums()
write_holds()
return out
