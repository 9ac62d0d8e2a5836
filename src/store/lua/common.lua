-- Common part of every script: one batch of transitions, one outbox entry.
--
-- The text of a script is: the generated prelude (EPOCH, MAY, ERRORS, constants; see script.c), this file, then the
-- script's own file. Rules that keep a batch whole, because Redis does not roll a failed script back:
--   * check everything about a job before the first write for it; a job that must not be touched is answered, not raised;
--   * every change of state goes through transition(), which is the only place that bumps seq and emits an event;
--   * every script that may emit ends with flush(), which appends all events of the batch as one stream entry.
-- The reader's side of what transition() writes is job_fold() in src/job/fold.c; the two change together.

local META = KEYS[1]                     -- "<prefix>meta": names the slot; all other keys share its prefix
local P = string.sub(META, 1, -5)
local call = redis.call
local SEP = '\31'                        -- cannot occur in a scalar of an event: names and numbers are checked before

local NOW                                -- Redis TIME in ms: the only clock that deadlines are judged by
local NOW_TEXT, RETIRE_TEXT              -- the same, and when a job that ends now is forgotten, as text (see whole)
local GSEQ, TOKENS                       -- events ever emitted; fencing tokens ever drawn
local READIED, READIED_BEFORE            -- how often any job ever became ready: a job's place in its queue
local OUT = {}                           -- job_id, event, job_id, event ...
local WAKE = {}                          -- models that got ready jobs

-- Moves in the sorted sets and sets are collected and written once, by settle(): a call from Lua costs as much as the work that it
-- asks for, and a batch of 128 jobs moves a thousand times. The last word about a member counts, so a job that is created
-- and cancelled in one batch ends up where it should. Whoever reads such a key in the same script calls settle() first.
local ZSETS, SETS, DOCS = {}, {}, {}

local function member_of(all, key)
  local members = all[key]
  if not members then members = {}; all[key] = members end
  return members
end

local function zadd(key, score, id) member_of(ZSETS, key)[id] = score end
local function zrem(key, id) member_of(ZSETS, key)[id] = false end
local function sadd(key, id) member_of(SETS, key)[id] = true end
local function srem(key, id) member_of(SETS, key)[id] = false end
local function set_doc(key, doc) DOCS[key] = doc end

-- Redis' Lua passes at most some 8,000 values to one call; even, because values come in pairs.
local CALL_MAX = 4000

local function call_chunked(command, key, args)
  for at = 1, #args, CALL_MAX do
    local to = math.min(#args, at + CALL_MAX - 1)
    if key then call(command, P .. key, unpack(args, at, to)) else call(command, unpack(args, at, to)) end
  end
end

local function settle()
  for key, members in pairs(ZSETS) do
    local add, remove = {}, {}
    for id, score in pairs(members) do
      if score then add[#add + 1] = score; add[#add + 1] = id else remove[#remove + 1] = id end
    end
    call_chunked('ZADD', key, add)
    call_chunked('ZREM', key, remove)
  end
  for key, members in pairs(SETS) do
    local add, remove = {}, {}
    for id, is_in in pairs(members) do
      if is_in then add[#add + 1] = id else remove[#remove + 1] = id end
    end
    call_chunked('SADD', key, add)
    call_chunked('SREM', key, remove)
  end
  local docs = {}
  for key, doc in pairs(DOCS) do docs[#docs + 1] = P .. key; docs[#docs + 1] = doc end
  call_chunked('MSET', nil, docs)
  ZSETS, SETS, DOCS = {}, {}, {}
end

-- A number as text. Lua prints 14 digits by itself, and the year 9999 in ms takes 15. Printing is also what a script spends most
-- of its time on, so texts stay texts where nothing is calculated, and a number that many jobs share is printed once.
local function whole(n) return string.format('%.0f', n) end

-- Reads the clock and the counters. False when another epoch rules: then nothing may be written.
local function begin()
  local t = call('TIME')
  NOW = t[1] * 1000 + math.floor(t[2] / 1000)
  NOW_TEXT, RETIRE_TEXT = whole(NOW), whole(NOW + RETENTION_MS)
  local m = call('HMGET', META, 'store_epoch', 'gseq', 'tokens', 'readied')
  GSEQ, TOKENS, READIED = tonumber(m[2]) or 0, tonumber(m[3]) or 0, tonumber(m[4]) or 0
  READIED_BEFORE = READIED
  return m[1] == EPOCH
end

local function fenced() return redis.error_reply('FENCED the scripts are of store epoch ' .. EPOCH) end

-- A Redis at its maxmemory refuses a script at the first write that may take memory. Right for new jobs; but what ends jobs,
-- requeues or forgets them has to go on, or nothing would ever free memory. A write that takes none, before the others, does it:
-- Redis does not stop a script half way.
local function allow_without_memory() call('HDEL', META, 'nothing') end

local function next_token()
  TOKENS = TOKENS + 1
  return EPOCH .. '-' .. TOKENS
end

-- Order of fields: store__event_decode() in outbox.c. doc, key and raw may hold any bytes and so stand behind their lengths.
-- An empty number is 0.
local function emit(e)
  local doc, key, raw = e.doc or '', e.key, e.raw or ''
  OUT[#OUT + 1] = e.id or ''
  OUT[#OUT + 1] = table.concat({
    e.seq or '', e.from or '', e.to, NOW_TEXT, e.attempt or '', e.max_attempts or '', e.crashes or '', e.priority or '',
    e.model or '', e.model_version or '', e.worker or '', e.token or '', e.reason or '', e.traceparent or '',
    e.not_before or '', e.timeout_ms or '', e.queue_timeout_ms or '', e.progress or '',
    e.topic or '', e.partition or '', e.offset or '',
    #doc, key and #key or '-1', e.raw_size or '', doc .. (key or '') .. raw }, SEP)
end

local function flush()
  settle()
  for at = 1, #OUT, CALL_MAX do
    local to = math.min(#OUT, at + CALL_MAX - 1)
    GSEQ = GSEQ + (to - at + 1) / 2
    call('XADD', P .. 'outbox', GSEQ .. '-0', unpack(OUT, at, to))
  end
  if #OUT > 0 or READIED ~= READIED_BEFORE then call('HSET', META, 'gseq', GSEQ, 'tokens', TOKENS, 'readied', READIED) end
  for model in pairs(WAKE) do call('PUBLISH', P .. 'wake', model) end
end

-- The job's record as a table, or nil if there is none. Times and seq are numbers, 0 if absent; the rest stays text.
local function load(id)
  local v = call('HMGET', P .. 'job:' .. id, 'state', 'seq', 'model', 'model_version', 'priority', 'attempt', 'max_attempts',
    'crashes', 'token', 'worker', 'cancel_requested', 'cancel_reason', 'traceparent', 'timeout_ms', 'queue_timeout_ms', 'queued_at',
    'started_at', 'not_before', 'lease_until', 'progress')
  if not v[1] then return nil end
  return { id = id, state = v[1], seq = tonumber(v[2]), model = v[3], model_version = v[4] or nil, priority = v[5],
    attempt = v[6], max_attempts = v[7], crashes = v[8], token = v[9] or nil, worker = v[10] or nil,
    cancel_requested = v[11] or nil, cancel_reason = v[12] or nil, traceparent = v[13] or nil,
    timeout_ms = tonumber(v[14] or 0), queue_timeout_ms = tonumber(v[15] or 0), queued_at = tonumber(v[16] or 0),
    started_at = tonumber(v[17] or 0), not_before = tonumber(v[18] or 0), lease_until = tonumber(v[19] or 0),
    progress = v[20] or nil }
end

-- The one way from state to state. `set`: fields of the record that change besides state, seq and updated_at (a flat list of
-- name, value); `more`: members of the event beyond what the record says. False, and nothing done, if the table has no such row.
local function transition(job, to, reason, set, more)
  local from = job.state
  if not (MAY[from or ''] or {})[to] then return false end
  job.seq = (job.seq or 0) + 1
  job.state = to
  local seq = whole(job.seq)
  call('HSET', P .. 'job:' .. job.id, 'state', to, 'seq', seq, 'updated_at', NOW_TEXT, unpack(set))
  if from then zrem('index:' .. from, job.id) end
  zadd('index:' .. to, NOW_TEXT, job.id)
  local e = more or {}
  e.id, e.seq, e.from, e.to, e.reason = job.id, seq, from, to, reason
  e.attempt, e.crashes, e.traceparent = job.attempt, job.crashes, job.traceparent
  emit(e)
  return true
end

-- Urgent first, then in the order of becoming ready. 2^48 leaves room for 2.8e14 times under ten priorities and stays exact in
-- a double. GSEQ would not do instead of READIED: a delayed job becomes ready without an event.
local function ready_score(priority)
  READIED = READIED + 1
  return (9 - priority) * 281474976710656 + READIED
end

-- Puts a queued job where it waits: among the ready ones, or among the timers until not_before.
local function enqueue(job)
  local from = math.max(job.queued_at, job.not_before)
  if job.not_before > NOW then
    zadd('timers', job.not_before, job.id)
    return
  end
  zadd('ready:' .. job.model, ready_score(job.priority), job.id)
  if job.queue_timeout_ms > 0 then
    zadd('timers', from + job.queue_timeout_ms, job.id)
  else
    zrem('timers', job.id)
  end
  WAKE[job.model] = true
end

-- The next deadline of a running job: its lease, or the last moment of its run (the worker ends it on time by itself; this is
-- for a worker that renews but does not obey).
local function running_deadline(job)
  if job.timeout_ms == 0 then return job.lease_until end
  return math.min(job.lease_until, job.started_at + job.timeout_ms + RUN_GRACE_MS)
end

local function let_go(job)
  if job.worker then srem('held:' .. job.worker, job.id) end
end

-- Ends a job. Its worker and token stay in the record: they tell who did it.
local function finish(job, to, reason, doc)
  if not (MAY[job.state or ''] or {})[to] then return false end
  if job.state == 'running' then let_go(job) end
  if job.state == 'queued' then zrem('ready:' .. job.model, job.id) end
  local set = { 'finished_at', NOW_TEXT, 'duration_ms', job.started_at > 0 and NOW - job.started_at or '0', 'crashes', job.crashes }
  if to == 'failed' then
    set[#set + 1] = 'error_code'
    set[#set + 1] = reason
    set_doc('error:' .. job.id, doc)
  elseif to == 'completed' then
    set_doc('result:' .. job.id, doc)
  else
    set[#set + 1] = 'cancel_reason'
    set[#set + 1] = reason
  end
  local done = transition(job, to, reason, set, { worker = job.worker, token = job.token, doc = doc, progress = job.progress })
  if job.lease_until > 0 or job.not_before > 0 or job.cancel_requested then
    call('HDEL', P .. 'job:' .. job.id, 'lease_until', 'not_before', 'cancel_requested')
  end
  if RETENTION_MS > 0 then zadd('timers', RETIRE_TEXT, job.id)
  else zrem('timers', job.id) end
  return done
end

-- Gives a running job back to the queue. A retry never undoes a cancel: whoever calls has looked at cancel_requested.
local function requeue(job, reason, not_before)
  let_go(job)
  local worker, token = job.worker, job.token
  job.queued_at, job.not_before = NOW, not_before
  local set = { 'queued_at', NOW_TEXT, 'attempt', job.attempt, 'crashes', job.crashes }
  local until_text = not_before > 0 and whole(not_before) or nil
  if until_text then set[#set + 1], set[#set + 2] = 'not_before', until_text end
  transition(job, 'queued', reason, set, { worker = worker, token = token, not_before = until_text })
  call('HDEL', P .. 'job:' .. job.id, 'worker', 'token', 'started_at', 'lease_until', 'progress', 'progress_message')
  enqueue(job)
end

local function finish_cancelled(job) return finish(job, 'cancelled', job.cancel_reason or 'cancel') end

-- The worker of a running job is gone.
local function lose(job)
  local crashes = tonumber(job.crashes) + 1
  job.crashes = whole(crashes)
  if job.cancel_requested then return finish_cancelled(job) end
  if crashes >= MAX_CRASHES then return finish(job, 'failed', 'worker_lost', ERRORS.worker_lost) end
  requeue(job, 'worker_lost', 0)
end

-- Ready jobs of one model, in order, at most `max`. A job whose worker died is handed out alone, because it may be what kills
-- workers: in a batch it would take the same neighbours along at every start, until all of them had used up their crashes.
local function pop_ready(model, max)
  local popped = call('ZPOPMIN', P .. 'ready:' .. model, max)
  local jobs = {}
  for i = 1, #popped, 2 do
    local id, score = popped[i], popped[i + 1]
    local job = load(id)
    local suspect = job and job.crashes ~= '0'
    if #jobs > 0 and (suspect or jobs[1].crashes ~= '0') then zadd('ready:' .. model, score, id)
    elseif job and job.state == 'queued' then jobs[#jobs + 1] = job end
  end
  return jobs
end

-- Hands ready jobs of one model to a worker: the first of `models` that has any. ARGV from `at`: worker, lease_ms, number of
-- models, then model and max_jobs each. Returns rows {id, model, version, token, traceparent, attempt, crashes, timeout_ms, spec}.
local function claim(at)
  local worker, lease_until, models = ARGV[at], NOW + ARGV[at + 1], tonumber(ARGV[at + 2])
  local jobs, keys, rows = {}, {}, {}
  settle()
  for m = 0, models - 1 do
    if #jobs == 0 then jobs = pop_ready(ARGV[at + 3 + 2 * m], ARGV[at + 4 + 2 * m]) end
  end
  if #jobs == 0 then return rows end
  for i, job in ipairs(jobs) do keys[i] = P .. 'spec:' .. job.id end
  local specs = call('MGET', unpack(keys)) -- CLAIM_MAX in claim.c keeps them few enough
  local lease_text = whole(lease_until)
  for i, job in ipairs(jobs) do
    job.worker, job.token = worker, next_token()
    job.started_at, job.lease_until = NOW, lease_until
    transition(job, 'running', 'claim',
      { 'worker', worker, 'token', job.token, 'started_at', NOW_TEXT, 'lease_until', lease_text },
      { worker = worker, token = job.token })
    if job.not_before > 0 then call('HDEL', P .. 'job:' .. job.id, 'not_before') end
    local deadline = running_deadline(job)
    zadd('timers', deadline == lease_until and lease_text or deadline, job.id)
    sadd('held:' .. worker, job.id)
    rows[i] = { job.id, job.model, job.model_version or '', job.token, job.traceparent or '', tonumber(job.attempt),
      tonumber(job.crashes), job.timeout_ms, specs[i] or '' }
  end
  return rows
end
