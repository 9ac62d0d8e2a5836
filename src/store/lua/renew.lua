-- renew: a worker still holds these jobs. ARGV: lease_ms, then for each job: job_id, token, progress,
-- progress_message ('' = unchanged). Returns for each: 0 held, 1 cancel requested, 2 lost.
if not begin() then return fenced() end
allow_without_memory()
local lease_until = NOW + tonumber(ARGV[1])
local answers = {}
for at = 2, #ARGV, 4 do
  local job = load(ARGV[at])
  if not job or job.state ~= 'running' or job.token ~= ARGV[at + 1] then
    answers[#answers + 1] = 2
  else
    job.lease_until = lease_until
    local set = { 'lease_until', lease_until }
    local function put(name, value)
      if value ~= '' then set = { 'updated_at', NOW, name, value, unpack(set) } end
    end
    put('progress_message', ARGV[at + 3])
    put('progress', ARGV[at + 2])
    call('HSET', P .. 'job:' .. job.id, unpack(set))
    zadd('timers', running_deadline(job), job.id)
    answers[#answers + 1] = job.cancel_requested and 1 or 0
  end
end
settle()
return answers
