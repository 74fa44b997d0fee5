-- Some copies of an event were opened or closed (`open`), parked or taken back (`dead`). `f` is its o, x and b. Gives
-- the new o and x, for the caller to write with what else changes.
local function count(f, open, dead)
  local o, x, b = tonumber(f[1]) or 0, tonumber(f[2]) or 0, tonumber(f[3]) or 0
  local o2, x2 = math.max(o + open, 0), math.max(x + dead, 0)
  if o + x > 0 and o2 + x2 == 0 then add('pending', -b) end
  if o + x == 0 and o2 + x2 > 0 then add('pending', b) end
  if x > 0 and x2 == 0 then add('dead_bytes', -b) end
  if x == 0 and x2 > 0 then add('dead_bytes', b) end
  add('dead', x2 - x)
  return o2, x2
end
