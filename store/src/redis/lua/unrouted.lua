-- What waits to be routed. ARGV: partition, after, how many, how many bytes.
local queue, after, room = base .. ':q:' .. ARGV[4], ARGV[5], tonumber(ARGV[7])
-- A reader of before all keys were lost begins anew.
local last = tonumber(call('HGET', base, 'last')) or 0
if tonumber(after) > last then after = '0' end
local out, bytes = {}, 0
for _, seq in ipairs(call('ZRANGEBYSCORE', queue, '(' .. after, '+inf', 'LIMIT', 0, ARGV[6])) do
  local f = call('HMGET', event_key(seq), 'i', 'e')
  if f[2] then
    bytes = bytes + #f[2]
    if #out > 0 and bytes > room then break end
    out[#out + 1] = { seq, f[1], f[2] }
  end
end
return out
