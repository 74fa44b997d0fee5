-- Claims a partition, or gives it up. ARGV: partition, gateway, what, then the living.
local epoch_field, owner_field, gateway = 'epoch:' .. ARGV[4], 'owner:' .. ARGV[4], ARGV[5]
local f = call('HMGET', base, epoch_field, owner_field)
local owner, under = string.match(f[2] or '', '^(%x+):(%d+)$')
-- Who acquired it since is no gateway that others could ask for it.
if under ~= f[1] then owner = nil end
if ARGV[6] == 'yield' then
  if owner == gateway then
    call('HDEL', base, owner_field)
    wake_partition(ARGV[4])
    publish()
  end
  return {}
end
if owner == gateway then return { 'ours', f[1] } end
for i = 7, #ARGV do
  if owner == ARGV[i] then return { 'theirs', owner } end
end
local epoch = string.format('%.0f', math.max((tonumber(f[1]) or 0) + 1, now_n))
call('HSET', base, epoch_field, epoch, owner_field, gateway .. ':' .. epoch)
return { 'ours', epoch }
