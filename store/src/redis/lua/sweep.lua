-- Forgets handled events. ARGV: received at or before, how many places to look at.
local cutoff, most = tonumber(ARGV[4]), tonumber(ARGV[5])
local m = call('HMGET', base, 'last', 'first', 'sweep')
local last, first = tonumber(m[1]) or 0, tonumber(m[2]) or 1
if last == 0 then return { 0, 0 } end
local from = math.max(tonumber(m[3]) or first, first)
local next, gone, looked, young = from, 0, 0, false
-- Whether everything from `first` on has gone so far.
local front = from == first
while next <= last and looked < most do
  local seq = string.format('%.0f', next)
  local f = call('HMGET', event_key(seq), 't', 'd', 'o', 'x', 'b', 'i')
  looked = looked + 1
  if f[6] then
    if (tonumber(f[1]) or 0) > cutoff then
      young = true
      break
    end
    if f[2] and (tonumber(f[3]) or 0) + (tonumber(f[4]) or 0) == 0 then
      call('UNLINK', event_key(seq))
      -- A later event may have come under the same id.
      if call('HGET', base .. ':ids', f[6]) == seq then call('HDEL', base .. ':ids', f[6]) end
      add('stored', -(tonumber(f[5]) or 0))
      gone = gone + 1
    else
      front = false
    end
  end
  next = next + 1
  if front then first = next end
end
local more = not young and next <= last
call('HSET', base, 'first', first, 'sweep', more and next or first)
write_sums()
return { gone, more and 1 or 0 }
