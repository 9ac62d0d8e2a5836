-- renew: a worker holds these jobs, all that it knows of. ARGV: worker, lease_ms, then for each job: job_id, token, progress,
-- progress_message ('' = unchanged). Returns for each: 0 held, 1 cancel requested, 2 lost.
--
-- What the store has it hold beyond those goes back to the queue: the answer to a claim was lost on the way.
local HELD_MAX = 2048

local function release_unknown(worker, known)
  for _, id in ipairs(call('ZRANGE', P .. 'held:' .. worker, 0, HELD_MAX - 1)) do
    local job = not known[id] and load(id)
    if job and job.state == 'running' and job.worker == worker then
      if job.cancel_requested then finish_cancelled(job) else requeue(job, 'release', 0) end
    elseif not known[id] then
      zrem('held:' .. worker, id)
    end
  end
end

if not begin() then return fenced() end
allow_without_memory()
local worker, lease_until = ARGV[1], NOW + tonumber(ARGV[2])
local answers, known, count_known = {}, {}, 0
for at = 3, #ARGV, 4 do
  local job = load(ARGV[at])
  if not job or job.state ~= 'running' or job.token ~= ARGV[at + 1] then
    answers[#answers + 1] = 2
  else
    job.lease_until = lease_until
    known[job.id], count_known = true, count_known + 1
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
if call('ZCARD', P .. 'held:' .. worker) > count_known then release_unknown(worker, known) end
flush()
return answers
