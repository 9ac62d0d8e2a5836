/* The models: what they take and give, who has them ready, and what may be done with their queues. */

import {getJson, sendJson} from './api.js';
import {every, h, redraw, setText} from './dom.js';
import {bytes, count, duration, now, words} from './format.js';
import {house, refreshHouse, watchHouse} from './house.js';
import {ask, asApiError, button, card, empty, errorBox, facts, loading, toast, toastError} from './parts.js';
import {shapeText} from './tensor.js';

const MODELS_MS = 10000;
const ASK = {
    pause: ['Pause', 'Jobs are taken and wait; those that run go on. Nothing is lost.'],
    drain: ['Drain', 'What is queued is worked off; new jobs are refused until it is resumed.'],
};

export function modelsView({signal}) {
    const place = h('div', {class: 'stack'}, loading('the models'));
    const trouble = h('div');
    const all = h('div', {class: 'actions'});
    const state = {models: null, error: null};
    const draw = () => {
        if (house.overview) redraw(all, house.overview.mode, () => modeButtons(house.overview.mode, null));
        redraw(trouble, state.error?.message ?? '', () => state.error && errorBox(state.error, {title: 'What the models take and give is not known', retry: load}));
        if (state.models && house.overview) redraw(place, JSON.stringify(merged(state.models).map(({queue, ...rest}) => [rest, queue?.mode])), () => cards(merged(state.models)));
        for (const node of place.querySelectorAll('[data-model]')) fillQueue(node);
    };
    const load = async () => {
        try {
            state.models = (await getJson('v2/models', signal)).models;
            state.error = null;
        } catch (error) {
            if (signal.aborted) return;
            state.models ??= []; // workers and queues tell the rest
            state.error = asApiError(error);
        }
        draw();
    };
    load();
    every(MODELS_MS, load, signal);
    watchHouse(draw, signal);
    return h('div', {class: 'view'}, h('div', {class: 'view-head'}, h('h1', null, 'Models'), all), trouble, place);
}

/* What the workers have ready, and queues of models that nobody has: their jobs wait in vain, which should be seen. */
function merged(models) {
    const known = new Map(models.map((model) => [model.name, {...model, loads: []}]));
    for (const {model} of house.queues) if (!known.has(model)) known.set(model, {name: model, versions: [], loads: []});
    for (const worker of house.workers) {
        for (const load of worker.models) {
            if (!known.has(load.name)) known.set(load.name, {name: load.name, versions: [load.version], loads: []});
            known.get(load.name).loads.push({...load, worker: worker.worker, device: worker.device});
        }
    }
    return [...known.values()].sort((a, b) => a.name.localeCompare(b.name)).map((model) => ({...model, queue: house.queues.find((queue) => queue.model === model.name)}));
}

function cards(models) {
    if (models.length === 0) return empty('No models', 'No worker has a model ready, and no job waits for one. Put one into the model repository: models/NAME/1/model.onnx.');
    return h('div', {class: 'columns'}, models.map(modelCard));
}

function modelCard({name, versions, platform, inputs, outputs, loads, queue}) {
    const node = card(name,
        h('p', {class: 'model-tags'}, loads.length ? h('span', {class: 'pill state-completed'}, 'Ready') : h('span', {class: 'pill state-failed'}, 'No worker has it'),
            queue && queue.mode !== 'open' && h('span', {class: 'pill state-queued'}, words(queue.mode)), platform && h('span', {class: 'tag'}, platform)),
        h('dl', {class: 'figures', 'data-model': name}, ['Queued', 'Ready', 'Running', 'Oldest'].map((term) => h('div', null, h('dt', null, term), h('dd', null, '–')))),
        tensors('Takes', inputs), tensors('Gives', outputs), loadTable(name, loads),
        h('div', {class: 'actions'}, loads.length > 0 && h('a', {class: 'button', href: `#/submit?model=${encodeURIComponent(name)}`}, 'Submit a job'),
            h('a', {class: 'button', href: `#/jobs?model=${encodeURIComponent(name)}`}, 'Jobs'), ...modeButtons(queue?.mode ?? 'open', name)));
    return node;
}

function fillQueue(node) {
    const queue = house.queues?.find(({model}) => model === node.dataset.model);
    const values = queue ? [count(queue.queued), count(queue.ready), queue.max_running ? `${queue.running} of ${queue.max_running}` : count(queue.running),
        queue.oldest_ready_at ? duration(now() - queue.oldest_ready_at) : '–'] : ['0', '0', '0', '–'];
    node.querySelectorAll('dd').forEach((dd, i) => setText(dd, values[i]));
}

function tensors(title, list) {
    if (!list?.length) return null;
    return facts([[title, h('ul', {class: 'tensor-list'}, list.map(({name, datatype, shape}) => h('li', null, h('code', null, name), ` ${datatype} ${shapeText(shape)}`)))]]);
}

function loadTable(name, loads) {
    if (!loads.length) return null;
    return h('div', {class: 'scroll', tabindex: '0', role: 'region', 'aria-label': `Where ${name} is ready`}, h('table', {class: 'table compact'},
        h('thead', null, h('tr', null, ['Version', 'Worker', 'Device', 'Batch', 'Memory'].map((name) => h('th', {scope: 'col'}, name)))),
        h('tbody', null, loads.map((load) => h('tr', null, h('td', {class: 'number'}, load.version), h('td', null, h('code', null, load.worker)), h('td', null, load.device),
            h('td', {class: 'number'}, load.max_batch_size ? String(load.max_batch_size) : '–'), h('td', {class: 'number'}, load.memory_bytes ? bytes(load.memory_bytes) : '–'))))));
}

/* --- pause, resume, drain: of one model, or of everything (null) ---------------------------------------------------- */

function modeButtons(mode, model) {
    const name = model ?? 'everything';
    const make = (type, label, iconName) => button(label, () => setMode(type, model), {iconName, 'aria-label': `${label} ${name}`});
    if (mode !== 'open') return [make('resume', model ? 'Resume' : 'Resume all', 'resume')];
    return [make('pause', model ? 'Pause' : 'Pause all', 'pause'), make('drain', model ? 'Drain' : 'Drain all', 'drain')];
}

async function setMode(type, model) {
    const name = model ?? 'everything';
    if (ASK[type]) {
        const [word, text] = ASK[type];
        if (!await ask({title: `${word} ${name}?`, body: h('p', null, text), action: word})) return;
    }
    try {
        await sendJson('POST', 'v1/mode', model ? {type, model} : {type});
        toast(`Sent: ${type} ${name}`);
    } catch (error) {
        toastError(error);
    }
    refreshHouse();
}
