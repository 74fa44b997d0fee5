-- Forgets handled events. ARGV: received at or before, how many places to look at. What is not handled yet when it has
-- become old enough is noted apart and looked at again in turn: else one that never is would make every sweep begin at it.
local cutoff, most = tonumber(ARGV[4]), tonumber(ARGV[5])
local m = call('HMGET', base, 'last', 'first', 'sweep')
local last, first, turn = tonumber(m[1]) or 0, tonumber(m[2]) or 1, m[3] or '0'
local old, gone = base .. ':old', 0

-- What became of an event: whether it is gone, is not handled, or is too young.
local function forget(seq)
  local f = call('HMGET', event_key(seq), 't', 'o', 'x', 'b', 'i')
  local id = f[5]
  if not id then return 'gone' end
  if (tonumber(f[1]) or 0) > cutoff then return 'young' end
  if not f[2] or (tonumber(f[2]) or 0) + (tonumber(f[3]) or 0) > 0 then return 'unhandled' end
  -- A later event may have come under the same id.
  local ids = base .. ':ids'
  if call('HGET', ids, id) == seq then
    call('HDEL', ids, id)
    call('UNLINK', payload_key(id))
  end
  call('HINCRBY', base, 'stored', -(tonumber(f[4]) or 0))
  call('UNLINK', event_key(seq), why_key(seq))
  gone = gone + 1
  return 'gone'
end

local again = call('ZRANGEBYSCORE', old, '(' .. turn, '+inf', 'LIMIT', 0, most)
local over = {}
for _, seq in ipairs(again) do
  if forget(seq) == 'gone' then over[#over + 1] = seq end
end
call_many('ZREM', old, over)
local next_turn = #again == most and again[#again] or '0'

local next, looked, young, unhandled = first, 0, false, {}
while next <= last and looked < most and not young do
  local seq = string.format('%.0f', next)
  local became = forget(seq)
  looked = looked + 1
  young = became == 'young'
  if became == 'unhandled' then
    unhandled[#unhandled + 1] = seq
    unhandled[#unhandled + 1] = seq
  end
  if not young then next = next + 1 end
end
call_many('ZADD', old, unhandled)
-- A script that changes nothing is not written to the disk.
if next ~= first then call('HSET', base, 'first', string.format('%.0f', next)) end
if next_turn ~= turn then call('HSET', base, 'sweep', next_turn) end
return { gone, not young and next <= last and 1 or 0 }
