-- lease: one holder at a time of the lease ARGV[1], for liveness only. ARGV: name, holder, ms. Returns 1 if held by holder.
if not begin() then return fenced() end
local key = P .. 'lease:' .. ARGV[1]
local holder = call('GET', key)
if holder and holder ~= ARGV[2] then return 0 end
call('SET', key, ARGV[2], 'PX', ARGV[3])
return 1
