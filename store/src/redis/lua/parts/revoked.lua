-- The pulls that hand nothing out any more, of a session: `process:number;` of each process, up to that number.
local function revoked_key(session) return base .. ':r:' .. session end
local FENCED = '*;'
local function is_revoked(text, process, number)
  if not text then return false end
  local upto = tonumber(string.match(text, process .. ':(%d+);'))
  return string.find(text, FENCED, 1, true) ~= nil or (upto ~= nil and tonumber(number) <= upto)
end
local function revoke(session, process, upto)
  local key = revoked_key(session)
  local text = call('GET', key) or ''
  local before = tonumber(string.match(text, process .. ':(%d+);'))
  if before then text = string.gsub(text, process .. ':%d+;', '') end
  text = text .. process .. ':' .. string.format('%.0f', math.max(before or 0, tonumber(upto))) .. ';'
  call('SET', key, text, 'PX', 600000)
end
