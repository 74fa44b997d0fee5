-- A session of a dead gateway pulls nothing any more, whichever process asks.
local key = base .. ':r:' .. ARGV[4]
call('HSET', key, '*', 1)
call('PEXPIRE', key, 600000)
return 1
