-- finish: a worker's results, and its next batch. ARGV: number of jobs, then for each: job_id, token, outcome ('C' completed,
-- 'F' failed, 'X' cancelled, 'R' released), error code, retryable ('1'), backoff_ms, document; then, optional, as for claim.
-- Returns {accepted (0 or 1) for each job}, {claimed rows}.
--
-- A result counts only if its token is the record's: whoever lost the lease learns it here and nothing is changed. The same
-- result sent again, because the first answer was lost on the way, finds its own token on an ended job and is accepted again.
local ENDED = { C = 'completed', F = 'failed', X = 'cancelled' }

local function conclude(job, outcome, code, retryable, backoff_ms, doc)
  if outcome == 'C' then return finish(job, 'completed', 'finish', doc) end
  if outcome == 'X' or job.cancel_requested then return finish_cancelled(job) end
  if outcome == 'R' then return requeue(job, 'release', 0) end
  if retryable and tonumber(job.attempt) < tonumber(job.max_attempts) then
    job.attempt = whole(job.attempt + 1)
    return requeue(job, 'retry', NOW + backoff_ms)
  end
  return finish(job, 'failed', code, doc)
end

if not begin() then return fenced() end
allow_without_memory()
local accepted = {}
local at = 2
for _ = 1, tonumber(ARGV[1]) do
  local job, outcome = load(ARGV[at]), ARGV[at + 2]
  if job and job.token == ARGV[at + 1] and (job.state == 'running' or job.state == ENDED[outcome]) then
    if job.state == 'running' then
      conclude(job, outcome, ARGV[at + 3], ARGV[at + 4] == '1', tonumber(ARGV[at + 5]), ARGV[at + 6])
    end
    accepted[#accepted + 1] = 1
  else
    accepted[#accepted + 1] = 0
  end
  at = at + 7
end
local rows = ARGV[at] and claim(at) or {}
flush()
return { accepted, rows }
