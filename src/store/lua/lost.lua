-- lost: the supervisor saw a worker process die; its jobs need not wait for their leases. ARGV: worker, at most so many jobs.
-- Returns how many jobs were handled: the caller repeats until 0.
if not begin() then return fenced() end
allow_without_memory()
local held = P .. 'held:' .. ARGV[1]
local ids = call('SRANDMEMBER', held, tonumber(ARGV[2]))
for _, id in ipairs(ids) do
  local job = load(id)
  if job and job.state == 'running' and job.worker == ARGV[1] then lose(job) else srem('held:' .. ARGV[1], id) end
end
flush()
return #ids
