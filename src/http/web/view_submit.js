/* Sending a job: by a form that the model's metadata fills in, or as the command's JSON. */

import {getJson, jobPath, sendJson} from './api.js';
import {h} from './dom.js';
import {asApiError, button, empty, errorBox, field, loading, select} from './parts.js';
import {inputEditor} from './submit_inputs.js';

const EXAMPLE = {model: 'digits', inputs: [], parameters: {}, labels: {}};

export function submitView({query, signal}) {
    const place = h('div', {class: 'stack'}, loading('the models'));
    const tabs = h('div', {class: 'segments', role: 'group', 'aria-label': 'How'});
    const draw = (models, command) => {
        const form = formEditor(models, query.get('model'));
        const json = jsonEditor(command ?? EXAMPLE);
        const choose = (editor) => {
            place.replaceChildren(editor.node);
            tabs.replaceChildren(...[['Form', form], ['JSON', json]].map(([name, each]) =>
                h('button', {type: 'button', class: 'segment', 'aria-pressed': String(each === editor), onclick: () => choose(each)}, name)));
        };
        choose(command ? json : form);
    };
    const load = async () => {
        try {
            const [models, command] = await Promise.all([modelsReady(signal), commandLike(query.get('like'), signal)]);
            if (!signal.aborted) draw(models, command);
        } catch (error) {
            if (!signal.aborted) place.replaceChildren(errorBox(asApiError(error), {retry: load}));
        }
    };
    load();
    return h('div', {class: 'view narrow'}, h('div', {class: 'view-head'}, h('h1', null, 'Submit a job'), tabs), place);
}

/* With what they take; where that cannot be had, at least the names that the workers have. */
async function modelsReady(signal) {
    try {
        return (await getJson('v2/models', signal)).models;
    } catch (error) {
        if (error.status !== 404) throw error;
        const {workers} = await getJson('v1/workers', signal);
        const names = new Set(workers.flatMap((worker) => worker.models.map(({name}) => name)));
        return [...names].sort().map((name) => ({name}));
    }
}

/* The command of another job, under no id: a new job. */
async function commandLike(id, signal) {
    if (!id) return null;
    const {type, job_id, ...command} = await getJson(jobPath(id, '/spec'), signal);
    return command;
}

/* Sends what read() gives; says what was wrong with it below the button, and leaves the form as it is. */
function sender(read) {
    const place = h('div', {class: 'stack'});
    const send = async (event) => {
        event.preventDefault();
        submit.disabled = true;
        place.replaceChildren();
        try {
            const {job_id} = await sendJson('POST', 'jobs', await read());
            location.hash = `#/jobs/${encodeURIComponent(job_id)}`;
        } catch (error) {
            place.replaceChildren(error.code ? errorBox(error) : h('p', {class: 'problem', role: 'alert'}, error.message));
        }
        submit.disabled = false;
    };
    const submit = h('button', {type: 'submit', class: 'button primary'}, 'Submit job');
    return {send, nodes: [h('div', {class: 'actions'}, submit), place]};
}

function jsonEditor(command) {
    const text = h('textarea', {class: 'mono', rows: 22, spellcheck: 'false', required: true});
    text.value = JSON.stringify(command, null, 2);
    const {send, nodes} = sender(() => {
        try {
            return JSON.parse(text.value);
        } catch (error) {
            throw new Error(`This is no JSON: ${error.message}`);
        }
    });
    return {node: h('form', {class: 'stack', onsubmit: send}, h('div', {class: 'card'}, field('Create command', text, 'As POST /jobs takes it; type and job_id may be left out.')), ...nodes)};
}

/* --- the form ------------------------------------------------------------------------------------------------------- */

function formEditor(models, wanted) {
    if (models.length === 0) {
        return {node: empty('No model is ready', 'No worker has a model loaded. A job can still be sent, as JSON: it waits for one.', h('a', {class: 'button', href: '#/workers'}, 'Workers'))};
    }
    const model = select(models.map(({name}, i) => [String(i), name]), String(Math.max(0, models.findIndex(({name}) => name === wanted))));
    const version = h('div');
    const inputs = h('div', {class: 'stack'});
    let editors = [];
    let versionSelect = null;
    const add = (meta, removable) => {
        const editor = inputEditor(meta, removable ? {remove: () => { editors = editors.filter((each) => each !== editor); editor.node.remove(); }} : {});
        editors.push(editor);
        inputs.append(editor.node);
    };
    const change = () => {
        const {versions = [], inputs: metas = []} = models[model.value];
        versionSelect = select([['', 'the latest'], ...versions.map((name) => [name, name])], '');
        version.replaceChildren(field('Version', versionSelect));
        editors = [];
        inputs.replaceChildren();
        for (const meta of metas) add(meta, false);
        more.hidden = metas.length > 0;
    };
    const more = button('Add an input', () => add({name: '', datatype: 'FP32', shape: []}, true));
    model.addEventListener('change', change);
    const options = optionFields();
    const {send, nodes} = sender(async () => {
        const read = [];
        for (const editor of editors) read.push(await editor.read());
        return {model: models[model.value].name, ...(versionSelect.value && {model_version: versionSelect.value}), ...(read.length && {inputs: read}), ...options.read()};
    });
    change();
    return {node: h('form', {class: 'stack', onsubmit: send}, h('div', {class: 'card filter-row'}, field('Model', model), version), inputs, h('div', {class: 'actions'}, more), options.node, ...nodes)};
}

/** What few jobs need; left out of the command where it is left empty. */
function optionFields() {
    const text = (attributes) => h('input', {type: 'text', spellcheck: 'false', autocomplete: 'off', ...attributes});
    const number = (min, max) => h('input', {type: 'number', min, max, step: 1});
    const controls = {
        job_id: text({pattern: '[A-Za-z0-9._:\\-]{1,128}', title: 'Letters, digits, . _ : -, up to 128'}),
        priority: number(0, 9), max_attempts: number(1, 100), timeout_ms: number(1, 604800000), labels: text({placeholder: 'tenant=a, purpose=test'}),
        parameters: h('textarea', {rows: 3, spellcheck: 'false', placeholder: '{"fake_latency_ms": 2000}'}),
    };
    const node = h('details', {class: 'card options'}, h('summary', null, 'Options'),
        h('div', {class: 'option-grid'},
            field('Job id', controls.job_id, 'Yours to choose; the same id is the same job.'), field('Priority', controls.priority, '0 to 9, 9 first; 4 as usual.'),
            field('Attempts', controls.max_attempts, 'At most; 3 as usual.'), field('Time limit, ms', controls.timeout_ms, 'Of one run.'),
            field('Labels', controls.labels, 'name=value, with commas between.'), field('Parameters', controls.parameters, 'For the executor: JSON.')));
    return {node, read: () => readOptions(controls)};
}

function readOptions({job_id, labels, parameters, ...numbers}) {
    const command = {};
    if (job_id.value.trim()) command.job_id = job_id.value.trim();
    for (const [name, control] of Object.entries(numbers)) if (control.value !== '') command[name] = Number(control.value);
    const pairs = labels.value.split(',').map((part) => part.trim()).filter(Boolean);
    if (pairs.length) command.labels = Object.fromEntries(pairs.map(labelPair));
    if (parameters.value.trim()) command.parameters = parseParameters(parameters.value);
    return command;
}

function labelPair(text) {
    const at = text.indexOf('=');
    if (at < 1) throw new Error(`The label ${text} is no name=value`);
    return [text.slice(0, at).trim(), text.slice(at + 1).trim()];
}

function parseParameters(text) {
    try {
        return JSON.parse(text);
    } catch (error) {
        throw new Error(`The parameters are no JSON: ${error.message}`);
    }
}
