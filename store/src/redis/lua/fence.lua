-- A session of a dead gateway pulls nothing any more, whichever process asks.
local key = revoked_key(ARGV[4])
call('SET', key, (call('GET', key) or '') .. FENCED, 'PX', 600000)
return 1
