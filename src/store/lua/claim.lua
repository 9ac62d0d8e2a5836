-- claim: ready jobs of one model for one worker. ARGV and the rows returned: see claim() in common.lua.
if not begin() then return fenced() end
local rows = claim(1)
flush()
return rows
