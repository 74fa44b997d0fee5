-- Changes of the tenant's counters, written once at the end.
local sums = {}
local function add(name, by) sums[name] = (sums[name] or 0) + by end
local function write_sums()
  for name, by in pairs(sums) do
    if by ~= 0 then call('HINCRBY', base, name, by) end
  end
end
