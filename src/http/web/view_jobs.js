/* The list of jobs. Filters and cursor stand in the address, so that a list can be linked and the back button pages back.
 * The first page is live: events say that something changed, and the page is then read again, once a second at most. */

import {getJson, jobPath} from './api.js';
import {every, h, keyedList, setText} from './dom.js';
import {duration, now} from './format.js';
import {house} from './house.js';
import {asApiError, button, empty, errorBox, field, isTerminal, livePill, loading, select, setAgo, STATES, stateWord} from './parts.js';
import {follow} from './stream.js';

const PAGE = 50;
const EMPTY_PAGES_MAX = 8; // the server answers short pages rather than work for long
const RELOAD_MS = 1000;
const UNHEARD_MS = 5000;
const AGES_MS = 5000;
const SINCE = [['', 'any time'], ['15m', 'the last 15 min'], ['1h', 'the last hour'], ['24h', 'the last day'], ['7d', 'the last week']];
const FILTERS = ['state', 'model', 'label', 'since'];

function hashOf(query) {
    const kept = new URLSearchParams([...query].filter(([, value]) => value !== ''));
    return kept.size ? `#/jobs?${kept}` : '#/jobs';
}

/** One page of jobs from `cursor` on, however many short pages that takes: {jobs, next_cursor}. */
export async function readPage(query, signal, read = getJson) {
    const page = {jobs: [], next_cursor: query.get('cursor') ?? undefined};
    for (let i = 0; i < EMPTY_PAGES_MAX; i++) {
        const asked = new URLSearchParams(query);
        asked.set('limit', String(PAGE - page.jobs.length));
        if (page.next_cursor) asked.set('cursor', page.next_cursor);
        const part = await read(`jobs?${asked}`, signal);
        page.jobs.push(...part.jobs);
        page.next_cursor = part.next_cursor;
        if (!part.next_cursor || page.jobs.length >= PAGE) break;
    }
    return page;
}

export function jobsView({query, signal}) {
    const body = h('div', {class: 'card flush'}, loading('jobs'));
    const pager = h('div', {class: 'pager'});
    const live = h('span', {class: 'feed-state'});
    const table = jobTable();
    const change = (name, value) => {
        const next = new URLSearchParams(query);
        next.delete('cursor');
        if (value) next.set(name, value);
        else next.delete(name);
        location.hash = hashOf(next);
    };
    const load = async () => {
        try {
            const page = await readPage(query, signal);
            if (signal.aborted) return;
            if (page.jobs.length) {
                table.update(page.jobs);
                if (body.firstChild !== table.node) body.replaceChildren(table.node);
            } else {
                body.replaceChildren(nothingFound(query, page.next_cursor));
            }
            drawPager(pager, query, page.next_cursor);
        } catch (error) {
            if (!signal.aborted) body.replaceChildren(errorBox(asApiError(error), {retry: load}));
        }
    };
    load();
    if (query.has('cursor')) setText(live, 'a page of the past; the first page is live');
    else keepLive(load, query.get('model'), live, signal);
    table.keepAges(signal);
    return h('div', {class: 'view'}, h('div', {class: 'view-head'}, h('h1', null, 'Jobs'), live), filters(query, change), body, pager);
}

/* Reads again after events, never while a reading is under way, and not more often than RELOAD_MS. */
function keepLive(load, model, live, signal) {
    let dirty = false;
    let timer = null;
    let unheard = true; // no stream comes through, because of a proxy in between, say: then the page is read all the same
    const reload = async () => {
        dirty = false;
        await load();
        timer = setTimeout(() => {
            timer = null;
            if (dirty && !signal.aborted) timer = setTimeout(reload, 0);
        }, RELOAD_MS);
    };
    const changed = () => {
        dirty = true;
        if (timer === null && !signal.aborted) timer = setTimeout(reload, 50);
    };
    follow(model ? `events?model=${encodeURIComponent(model)}` : 'events', {
        signal,
        onEvent: changed,
        onState(state) {
            live.dataset.state = state;
            setText(live, state === 'open' ? 'live' : `not live: read every ${UNHEARD_MS / 1000} s`);
            unheard = state !== 'open';
            changed(); // what happened in between
        },
    });
    every(UNHEARD_MS, () => { if (unheard) changed(); }, signal);
    signal.addEventListener('abort', () => clearTimeout(timer));
}

/* --- filters -------------------------------------------------------------------------------------------------------- */

function filters(query, change) {
    const current = query.get('state') ?? '';
    const states = h('div', {class: 'segments', role: 'group', 'aria-label': 'State'}, ['', ...STATES].map((state) =>
        h('button', {type: 'button', class: 'segment', 'aria-pressed': String(state === current), onclick: () => change('state', state)}, state ? stateWord(state) : 'All')));
    const model = query.get('model') ?? '';
    const models = [...new Set([...(house.queues ?? []).map((queue) => queue.model), model].filter(Boolean))].sort();
    const modelSelect = select([['', 'any model'], ...models.map((name) => [name, name])], model, {onchange: (event) => change('model', event.target.value)});
    const since = select(SINCE, query.get('since') ?? '', {onchange: (event) => change('since', event.target.value)});
    const label = h('input', {type: 'text', value: query.get('label') ?? '', placeholder: 'tenant=a', pattern: '[^=]+=.*', spellcheck: 'false', onchange: (event) => {
        if (event.target.reportValidity()) change('label', event.target.value.trim());
    }, title: 'name=value'});
    const active = FILTERS.some((name) => query.get(name));
    return h('div', {class: 'filters'}, states, h('div', {class: 'filter-row'},
        finder(), field('Model', modelSelect), field('Changed', since), field('Label', label),
        active && h('a', {class: 'button quiet', href: '#/jobs'}, 'Clear filters')));
}

/* By id: goes to the job, or says that there is none. */
function finder() {
    const input = h('input', {type: 'search', placeholder: 'Job id', required: true, spellcheck: 'false', autocapitalize: 'off'});
    const problem = h('p', {class: 'problem', role: 'alert'});
    input.addEventListener('input', () => setText(problem, ''));
    const form = h('form', {class: 'finder', onsubmit: async (event) => {
        event.preventDefault();
        const id = input.value.trim();
        if (!id) return;
        try {
            await getJson(jobPath(id));
            location.hash = `#/jobs/${encodeURIComponent(id)}`;
        } catch (error) {
            setText(problem, error.status === 404 ? `There is no job ${id}.` : error.message);
        }
    }}, field('Find by id', input), problem);
    input.id = 'find-job';
    form.querySelector('label').htmlFor = 'find-job';
    return form;
}

function nothingFound(query, next) {
    if (next) return empty('Nothing so far', 'What was searched has no such job; there is more to search.', h('a', {class: 'button', href: nextHash(query, next)}, 'Search on'));
    if ([...query.keys()].length) return empty('No such jobs', 'No job matches these filters.', h('a', {class: 'button', href: '#/jobs'}, 'Show all jobs'));
    return empty('No jobs yet', 'Send one from here, with penstock submit, or with any Kafka client.', h('a', {class: 'button primary', href: '#/submit'}, 'Submit a job'));
}

function nextHash(query, cursor) {
    const next = new URLSearchParams(query);
    next.set('cursor', cursor);
    return hashOf(next);
}

function drawPager(pager, query, next) {
    const first = new URLSearchParams(query);
    first.delete('cursor');
    pager.replaceChildren(...[
        query.has('cursor') && h('a', {class: 'button', href: hashOf(first)}, 'First page'),
        query.has('cursor') && button('Back', () => history.back()),
        next && h('a', {class: 'button', href: nextHash(query, next)}, 'Older jobs'),
    ].filter(Boolean));
}

/* --- the table ------------------------------------------------------------------------------------------------------ */

const COLUMNS = [['State', ''], ['Job', ''], ['Model', 'wide'], ['Attempt', 'wide number'], ['Priority', 'wider number'], ['Run time', 'wide number'], ['Changed', 'number']];

/** {node, update(jobs), keepAges(signal)} */
export function jobTable() {
    const rows = h('tbody');
    const node = h('table', {class: 'table jobs'}, h('thead', null, h('tr', null, COLUMNS.map(([name, kind]) => h('th', {scope: 'col', class: kind}, name)))), rows);
    let shown = [];
    const update = (jobs) => {
        shown = jobs;
        keyedList(rows, shown, (job) => job.job_id, jobRow);
    };
    return {node, update, keepAges(signal) {
        const timer = setInterval(() => update(shown), AGES_MS);
        signal.addEventListener('abort', () => clearInterval(timer));
    }};
}

function jobRow(first) {
    const pill = livePill();
    const [model, attempt, priority, run] = ['wide', 'wide number', 'wider number', 'wide number'].map((kind) => h('td', {class: kind}));
    const under = h('span', {class: 'under'});
    const at = h('time');
    const node = h('tr', null, h('td', null, pill.node),
        h('td', {class: 'job-cell'}, h('a', {class: 'mono clip', href: `#/jobs/${encodeURIComponent(first.job_id)}`}, first.job_id), under),
        model, attempt, priority, run, h('td', {class: 'number'}, at));
    const update = (job) => {
        pill.update(job.state, job.cancel_requested);
        setText(model, job.model ?? '');
        setText(under, [job.error_code, job.model].filter(Boolean).join(' · '));
        setText(attempt, `${job.attempt} of ${job.max_attempts}`);
        setText(priority, job.priority);
        setText(run, runText(job));
        setAgo(at, job.updated_at);
    };
    return {node, update};
}

function runText(job) {
    if (job.state === 'running') return job.progress > 0 ? `${Math.round(job.progress * 100)} %` : duration(now() - job.started_at);
    return isTerminal(job.state) ? duration(job.duration_ms) : '–';
}
