/* The workers: on which device, how long silent, with what in hand. */

import {h, keyedList, redraw, setText} from './dom.js';
import {ago, bytes, count, duration, now} from './format.js';
import {house, watchHouse} from './house.js';
import {card, empty, errorBox, facts, loading} from './parts.js';

const JOBS_SHOWN = 8;
const LATE_MS = 5000;
const LOST_MS = 15000;

export function workersView({signal}) {
    const place = h('div', {class: 'stack'}, loading('the workers'));
    const grid = h('div', {class: 'columns'});
    const sum = h('p', {class: 'hint'});
    watchHouse(() => {
        if (!house.workers) place.replaceChildren(errorBox(house.error));
        else if (house.workers.length === 0) place.replaceChildren(empty('No workers', 'Jobs are taken and kept, but nothing runs them. Start one with: penstock worker.'));
        else {
            if (place.firstChild !== grid) place.replaceChildren(grid);
            keyedList(grid, house.workers, (worker) => worker.worker, workerCard);
            const busy = house.workers.filter((worker) => worker.held > 0).length;
            setText(sum, `${count(house.workers.length)} in all, ${count(busy)} busy`);
        }
    }, signal);
    return h('div', {class: 'view'}, h('div', {class: 'view-head'}, h('h1', null, 'Workers and GPUs'), sum), place);
}

function workerCard(first) {
    const beat = h('span');
    const pill = h('span', {class: 'pill'});
    const held = h('dd', null, '0');
    const up = h('dd');
    const jobs = h('ul', {class: 'job-links'});
    const memory = h('dd');
    const models = h('div');
    const node = card(first.worker,
        h('p', {class: 'model-tags'}, pill, h('span', {class: 'tag'}, first.executor), h('span', {class: 'tag'}, first.device)),
        h('dl', {class: 'figures'}, h('div', null, h('dt', null, 'Jobs in hand'), held), h('div', null, h('dt', null, 'Heartbeat'), h('dd', null, beat)),
            h('div', null, h('dt', null, 'Up for'), up), h('div', null, h('dt', null, 'Memory'), memory)),
        jobs, facts([['Host', first.host], ['Process', String(first.pid)]]), models);
    const update = (worker) => {
        const silent_ms = now() - worker.seen_at;
        const [word, state] = silent_ms > LOST_MS ? ['Silent', 'failed'] : silent_ms > LATE_MS ? ['Late', 'queued'] : worker.held ? ['Busy', 'running'] : ['Idle', 'completed'];
        setText(pill, word);
        pill.className = `pill state-${state}`;
        setText(beat, ago(worker.seen_at));
        setText(held, count(worker.held));
        setText(up, duration(now() - worker.started_at));
        const used = worker.models.reduce((sum, model) => sum + (model.memory_bytes ?? 0), 0);
        setText(memory, used ? bytes(used) : '–');
        redraw(models, JSON.stringify(worker.models), () => modelsOf(worker));
        keyedList(jobs, linksOf(worker), ({key}) => key, jobLink);
    };
    return {node, update};
}

function linksOf(worker) {
    const links = worker.jobs.slice(0, JOBS_SHOWN).map((id) => ({key: id, id}));
    const rest = worker.held - links.length;
    return rest > 0 ? [...links, {key: '', text: `and ${count(rest)} more`}] : links;
}

function jobLink({id}) {
    const text = h('span');
    const node = h('li', null, id ? h('a', {class: 'mono clip', href: `#/jobs/${encodeURIComponent(id)}`}, id) : text);
    return {node, update: (link) => { if (link.text) setText(text, link.text); }};
}

function modelsOf(worker) {
    if (!worker.models.length) return h('p', {class: 'hint'}, 'It has no model ready yet.');
    return facts([['Models', h('ul', {class: 'tensor-list'}, worker.models.map(({name, version}) => h('li', null, h('code', null, name), ` version ${version}`)))]]);
}
