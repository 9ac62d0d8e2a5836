-- sweep: whatever is due, at most ARGV[1] of it. There is one order of deadlines, so there is one sweep; several sweepers at
-- once do no harm, since each looks at the record before it acts. Returns {handled, ms until the next deadline or -1}.
local function forget(job)
  call('DEL', P .. 'job:' .. job.id, P .. 'spec:' .. job.id, P .. 'result:' .. job.id, P .. 'error:' .. job.id)
  zrem('index:' .. job.state, job.id)
  zrem('timers', job.id)
end

local function due_queued(job)
  local ready_at = math.max(job.queued_at, job.not_before)
  if job.queue_timeout_ms > 0 and NOW >= ready_at + job.queue_timeout_ms then
    finish(job, 'failed', 'queue_timeout', ERRORS.queue_timeout)
  else
    enqueue(job)
  end
end

local HELD_MAX = 256 -- jobs of a silent worker taken at once
local SILENT = {}

local function due_running(job)
  if job.lease_until <= NOW then
    if SILENT[job.worker] then return end
    SILENT[job.worker] = true
    settle()
    lose_worker(job.worker, false, HELD_MAX)
    return
  end
  if running_deadline(job) <= NOW then
    if job.cancel_requested then return finish_cancelled(job) end
    return finish(job, 'failed', 'timeout', ERRORS.timeout)
  end
  zadd('timers', running_deadline(job), job.id)
end

-- Ms until the first of a list of deadlines, or nil if it is empty.
local function due_in(key)
  local first = call('ZRANGE', P .. key, 0, 0, 'WITHSCORES')
  return first[2] and math.max(0, tonumber(first[2]) - NOW)
end

if not begin() then return fenced() end
allow_without_memory()
local limit = tonumber(ARGV[1])
local due = call('ZRANGEBYSCORE', P .. 'timers', '-inf', NOW, 'LIMIT', 0, limit)
for _, id in ipairs(due) do
  local job = not LOST[id] and load(id)
  if LOST[id] then -- dealt with, together with another job of its worker
  elseif not job then zrem('timers', id)
  elseif job.state == 'queued' then due_queued(job)
  elseif job.state == 'running' then due_running(job)
  else forget(job) end
end
local late = call('ZRANGEBYSCORE', P .. 'tombstones', '-inf', NOW, 'LIMIT', 0, limit)
for _, id in ipairs(late) do
  call('ZREM', P .. 'tombstones', id)
  call('HDEL', P .. 'tombstone_reasons', id)
end
flush()
local first, first_late = due_in('timers'), due_in('tombstones')
return { #due + #late, math.min(first or first_late or -1, first_late or first or -1) }
