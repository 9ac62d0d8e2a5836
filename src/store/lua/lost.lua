-- lost: the supervisor saw a worker process die; its jobs need not wait for their leases. ARGV: worker, at most so many jobs.
-- Returns how many jobs were handled: the caller repeats until 0.
if not begin() then return fenced() end
allow_without_memory()
local looked = lose_worker(ARGV[1], true, tonumber(ARGV[2]))
flush()
return looked
