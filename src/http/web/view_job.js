/* One job: what it is, what happened to it, what went in and what came out. The record is read again at each of its
 * events; progress makes no event, so a running job is also read every POLL_MS. */

import {getJson, hasToken, jobPath, request, sendJson} from './api.js';
import {every, h, redraw, setText} from './dom.js';
import {bytes, duration, time} from './format.js';
import {icon} from './icons.js';
import {ask, asApiError, button, card, copyButton, empty, errorBox, facts, field, isTerminal, livePill, loading, setAgo, toast, toastError} from './parts.js';
import {follow} from './stream.js';
import {tensorView} from './tensor.js';
import {eventsOfRecord, eventTable, timelineView} from './timeline.js';

const POLL_MS = 2000;
const PATIENCE_MS = 3000; // a job that was just sent has its record within milliseconds, as a rule
const RETRY_MS = 150;
const EVENTS_MAX = 500;
const REASON_MAX = 256;

export function jobView({params: {id}, signal}) {
    const body = h('div', {class: 'stack'}, loading('the job'));
    const sections = {};
    for (const name of ['problem', 'summary', 'timeline', 'data', 'more']) sections[name] = h('div', {class: `job-${name}`});
    const actions = h('div', {class: 'actions'});
    const pill = livePill();
    const events = [];
    let job = null;
    let spec = null; // the command: it never changes, and is read once
    let refused = false; // there is no stream of its events

    const draw = () => {
        if (!job) return;
        if (body.firstChild !== sections.problem) body.replaceChildren(...Object.values(sections));
        pill.update(job.state, job.cancel_requested);
        redraw(actions, `${job.state} ${job.cancel_requested}`, () => headActions(job, load));
        redraw(sections.problem, JSON.stringify([job.error, job.cancel_reason, job.state]), () => problem(job));
        drawSummary(sections.summary, job);
        redraw(sections.data, `${job.state} ${spec !== null}`, () => [inputs(spec), outputs(job)]);
        redraw(sections.more, `${job.state} ${spec !== null}`, () => more(job, spec));
    };
    const drawTimeline = () => {
        if (events.length) {
            sections.timeline.replaceChildren(card('Timeline', timelineView(events), eventTable(events)));
        } else if (refused && job) {
            sections.timeline.replaceChildren(card('Timeline', timelineView(eventsOfRecord(job)), h('p', {class: 'hint'}, 'The last round, by the record: the events of this job cannot be had.')));
        }
    };
    const load = async () => {
        try {
            const first = job === null;
            job = await getJson(jobPath(id), signal);
            draw();
            if (first) followEvents(id, events, {onNews: () => { drawTimeline(); load(); }, onRefused: () => { refused = true; drawTimeline(); }, isOver: () => isTerminal(job.state)}, signal);
            spec ??= await specOf(id, signal);
            draw();
        } catch (error) {
            if (signal.aborted || job) return;
            if (error.status === 404 && performance.now() < patience) setTimeout(load, RETRY_MS);
            else body.replaceChildren(notThere(id, asApiError(error), load));
        }
    };
    const patience = performance.now() + PATIENCE_MS;
    load();
    every(POLL_MS, async () => {
        if (!job || isTerminal(job.state)) return;
        await load();
        drawTimeline();
    }, signal);
    return h('div', {class: 'view'}, h('a', {class: 'crumb', href: '#/jobs'}, icon('back'), 'Jobs'),
        h('div', {class: 'view-head'}, h('div', {class: 'job-title'}, h('h1', {class: 'mono'}, id), copyButton('Copy the id', () => id), pill.node), actions), body);
}

async function specOf(id, signal) {
    try {
        return await getJson(jobPath(id, '/spec'), signal);
    } catch (error) {
        if (error.status === 404) return {}; // cancelled before it came
        throw error;
    }
}

/* Together, what the stream brings at once is drawn once. */
function followEvents(id, events, {onNews, onRefused, isOver}, signal) {
    let timer = null;
    let lastSeq = 0;
    follow(jobPath(id, '/events'), {
        signal,
        isOver,
        onState(state) { if (state === 'refused') onRefused(); },
        onEvent({data, type}) {
            if (!type.startsWith('penstock.job.')) return;
            const event = JSON.parse(data);
            if (event.seq === undefined || event.seq <= lastSeq) return; // sent again after a reconnection
            lastSeq = event.seq;
            events.push(event);
            if (events.length > EVENTS_MAX) events.splice(1, 1); // the first says when it all began
            timer ??= setTimeout(() => { timer = null; if (!signal.aborted) onNews(); }, 30);
        },
    });
}

function notThere(id, error, retry) {
    if (error.status !== 404) return errorBox(error, {retry});
    return empty('There is no such job', `Either no command with the id ${id} was accepted, or its record has been cleared away.`,
        button('Look again', retry), h('a', {class: 'button', href: '#/jobs'}, 'All jobs'));
}

/* --- cancelling ----------------------------------------------------------------------------------------------------- */

function headActions(job, load) {
    if (isTerminal(job.state)) return h('a', {class: 'button', href: `#/submit?like=${encodeURIComponent(job.job_id)}`}, 'Submit again');
    return [job.cancel_requested ? h('p', {class: 'hint'}, 'Asked to stop; it ends as cancelled once its work has stopped.') : null,
        button('Cancel job', () => cancel(job, load), {kind: 'danger', disabled: job.cancel_requested})];
}

async function cancel(job, load) {
    const reason = h('input', {type: 'text', name: 'reason', maxlength: REASON_MAX, autocomplete: 'off'});
    const answer = await ask({
        title: 'Cancel this job?',
        body: [h('p', null, job.state === 'running' ? 'It runs. It ends once its work has stopped; no result is kept.' : 'It waits. It will not be started.'),
            field('Reason', reason, 'Kept in the record and in the events. May be left empty.')],
        action: 'Cancel job', kind: 'danger', leave: 'Keep it',
    });
    if (!answer) return;
    const text = answer.get('reason').trim();
    try {
        await sendJson('DELETE', jobPath(job.job_id, text ? `?reason=${encodeURIComponent(text)}` : ''));
        toast('The cancel was sent');
    } catch (error) {
        toastError(error);
    }
    load();
}

/* --- sections ------------------------------------------------------------------------------------------------------- */

function problem(job) {
    if (job.error) return errorBox(job.error);
    if (job.state === 'cancelled' && job.cancel_reason) return h('div', {class: 'notice info'}, icon('info'), h('div', null, h('p', {class: 'notice-title'}, 'Cancelled'), h('p', null, job.cancel_reason)));
    return null;
}

function drawSummary(place, job) {
    const running = job.state === 'running';
    redraw(place, `${job.seq} ${job.progress} ${job.progress_message ?? ''}`, () => card('Summary',
        running && progressBar(job),
        facts([
            ['Model', job.model && h('a', {href: `#/jobs?model=${encodeURIComponent(job.model)}`}, job.model_version ? `${job.model}, version ${job.model_version}` : job.model)],
            ['Attempt', `${job.attempt} of ${job.max_attempts}`],
            ['Lost workers', job.crashes ? String(job.crashes) : null],
            ['Priority', `${job.priority}${job.priority === 4 ? ' (as usual)' : ''}`],
            ['Worker', job.worker && h('code', null, job.worker)],
            ['Created', agoWithTime(job.created_at)],
            ['Started', agoWithTime(job.started_at)],
            ['Finished', agoWithTime(job.finished_at)],
            ['Run time', isTerminal(job.state) && job.duration_ms !== undefined ? duration(job.duration_ms) : null],
            ['Not before', job.state === 'queued' && job.not_before ? time(job.not_before) : null],
            ['May run for', duration(job.timeout_ms)],
            ['Tenant', job.tenant],
            ['Trace', job.traceparent && h('code', {class: 'hash'}, job.traceparent), 'whole'],
        ]),
        job.labels && h('ul', {class: 'labels', 'aria-label': 'Labels'}, Object.entries(job.labels).map(([name, value]) =>
            h('li', null, h('a', {class: 'tag', href: `#/jobs?label=${encodeURIComponent(`${name}=${value}`)}`}, `${name}=${value}`))))));
}

function agoWithTime(at) {
    if (!at) return null;
    const node = h('time');
    setAgo(node, at);
    setText(node, time(at));
    return node;
}

function progressBar(job) {
    const percent = Math.round(job.progress * 100);
    return h('div', {class: 'progress'}, h('progress', {max: 1, value: job.progress, 'aria-label': 'Progress'}), h('span', {class: 'number'}, `${percent} %`), job.progress_message && h('span', null, job.progress_message));
}

function inputs(spec) {
    const tensors = spec?.inputs ?? [];
    if (!tensors.length) return null;
    return card(tensors.length === 1 ? 'Input' : 'Inputs', ...tensors.map((tensor) => tensorView(tensor)));
}

function outputs(job) {
    const tensors = job.result?.outputs ?? [];
    if (!tensors.length) return null;
    return card(tensors.length === 1 ? 'Output' : 'Outputs', ...tensors.map((tensor) => tensorView(tensor, tensor.uri && download(job, tensor))));
}

/* A link, unless a token is needed: links send none, so the file is then fetched first. */
function download(job, tensor) {
    const path = jobPath(job.job_id, `/artifacts/${encodeURIComponent(tensor.name)}`);
    const label = `Download, ${bytes(tensor.bytes)}`;
    const name = `${job.job_id}-${tensor.name}.bin`;
    if (!hasToken()) return h('a', {class: 'button', href: path, download: name}, icon('download'), h('span', null, label));
    return button(label, async () => {
        try {
            const url = URL.createObjectURL(await (await request(path)).blob());
            h('a', {href: url, download: name}).click();
            setTimeout(() => URL.revokeObjectURL(url), 60000);
        } catch (error) {
            toastError(error);
        }
    }, {iconName: 'download'});
}

function more(job, spec) {
    const parameters = spec?.parameters ?? {};
    return [Object.keys(parameters).length > 0 && card('Parameters', facts(Object.entries(parameters).map(([name, value]) => [name, h('code', null, JSON.stringify(value))]))),
        card('Record', h('details', {class: 'values'}, h('summary', null, 'As JSON'), h('pre', {class: 'json', tabindex: '0'}, recordText(job))))];
}

const JSON_MAX = 20000;

function recordText(job) {
    const text = JSON.stringify(job, null, 2);
    return text.length > JSON_MAX ? `${text.slice(0, JSON_MAX)}\n… ${bytes(text.length - JSON_MAX)} more: GET /${jobPath(job.job_id)}` : text;
}
