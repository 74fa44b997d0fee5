-- The gateways. The key is a hash of the living and their beats. ARGV: what is asked, a gateway, and more.
local what, gateway = ARGV[4], ARGV[5]
local buried, sessions = base .. ':buried', base .. ':s:' .. gateway
local beats = call('HGET', base, gateway)
if what == 'enter' then
  -- Whoever finds it buried ends whatever it begins.
  if call('SISMEMBER', buried, gateway) == 1 then return 0 end
  call('HSETNX', base, gateway, 0)
elseif what == 'beat' then
  if not beats then return {} end
  -- Who has not heard the answer to its last beat does not live longer by another.
  if beats == ARGV[6] then call('HINCRBY', base, gateway, 1) end
  return { call('HGETALL', base), call('SMEMBERS', buried) }
elseif what == 'bury' or what == 'leave' then
  if not beats or (what == 'bury' and beats ~= ARGV[6]) then return 0 end
  call('HDEL', base, gateway)
  call('SADD', buried, gateway)
elseif what == 'hold' then
  if not beats then return 0 end
  call('HSET', sessions, ARGV[6], ARGV[7])
elseif what == 'drop' then
  call('HDEL', sessions, ARGV[6])
elseif what == 'sessions' then
  return call('HRANDFIELD', sessions, ARGV[6], 'WITHVALUES')
elseif what == 'forget' then
  if call('EXISTS', sessions) == 1 then return 0 end
  call('SREM', buried, gateway)
end
return 1
