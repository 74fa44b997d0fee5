-- Returns copies with their attempt refunded. ARGV: session, process, and either `ids` and ids, or `pulls`, the highest
-- number and the numbers of pulls whose answers reached nobody.
local session, process, what = ARGV[4], ARGV[5], ARGV[6]
local wanted, ids = {}, {}
if what == 'ids' then
  for n = 7, #ARGV do ids[#ids + 1] = ARGV[n] end
else
  revoke(session, process, ARGV[7])
  for n = 8, #ARGV do wanted[process .. '-' .. ARGV[n]] = true end
  ids = call('HKEYS', session_key(session))
end
local returned = 0
for _, id in ipairs(ids) do
  local left, places = {}, held(session, id)
  for _, place in ipairs(places) do
    local seq, inbox = place[1], place[2]
    local mine = true
    if what ~= 'ids' then
      local text = call('HGET', event_key(seq), 'c:' .. inbox)
      mine = text and wanted[string.match(text, '([^:]*)$')]
    end
    local copy = mine and held_copy(seq, inbox, session)
    if copy then
      ready(copy.key, seq, inbox, math.max(copy.attempts - 1, 0), copy.replay, '')
      returned = returned + 1
    else
      left[#left + 1] = seq .. ':' .. inbox .. ';'
    end
  end
  if #left == 0 then
    call('HDEL', session_key(session), id)
  elseif #left < #places then
    call('HSET', session_key(session), id, table.concat(left))
  end
end
write_holds()
publish()
return returned
