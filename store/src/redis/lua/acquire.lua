-- Takes a partition over. The time keeps epochs from coming again after all keys were lost.
local field = 'epoch:' .. ARGV[4]
local before = tonumber(call('HGET', base, field)) or 0
local epoch = string.format('%.0f', math.max(before + 1, now_n))
call('HSET', base, field, epoch)
wake_partition(ARGV[4])
publish()
return epoch
