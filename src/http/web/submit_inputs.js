/* One input of a job that is being written: its shape, and its elements from text or from a file. */

import {request} from './api.js';
import {h, setText} from './dom.js';
import {count} from './format.js';
import {button, field, select} from './parts.js';
import {DATATYPE_NAMES, elementCount, flatten, imageLayout, imageValues, parseNpy, rawElements, shapeText, tensorView} from './tensor.js';

const INLINE_MAX = 16384; // elements; more are uploaded, and named by their uri
const WHITE_LEVELS = [['1', '1'], ['16', '16'], ['255', '255']];

/** A shape as one writes it: "1, 3, 224, 224", with or without brackets. */
export function parseShape(text) {
    const parts = text.replaceAll(/[[\]\s]/g, '').split(',').filter(Boolean);
    const shape = parts.map(Number);
    if (shape.some((size) => !Number.isInteger(size) || size < 0)) throw new Error('A shape is whole numbers with commas between: 1, 3, 224, 224');
    return shape;
}

/** Elements as JSON, or as numbers with spaces or commas between. */
export function parseValues(text) {
    const trimmed = text.trim();
    if (trimmed === '') throw new Error('Elements are missing');
    const source = trimmed.startsWith('[') ? trimmed : `[${trimmed.split(/[\s,]+/).join(',')}]`;
    try {
        return flatten(JSON.parse(source));
    } catch {
        throw new Error('These are no elements: write a JSON array, or numbers with spaces or commas between');
    }
}

/** {node, read(): Promise of the tensor as a command has it}. `meta`: what the model says of its input; shape with -1. */
export function inputEditor(meta, {remove} = {}) {
    const state = {file: null};
    const problem = h('p', {class: 'problem', role: 'alert'});
    const preview = h('div', {class: 'input-preview'});
    const name = h('input', {type: 'text', value: meta.name, required: true, spellcheck: 'false'});
    const datatype = select(DATATYPE_NAMES.map((type) => [type, type]), meta.datatype);
    const shape = h('input', {type: 'text', value: meta.shape.map((size) => Math.max(size, 1)).join(', '), placeholder: '1, 3, 224, 224', spellcheck: 'false'});
    const values = h('textarea', {rows: 4, spellcheck: 'false', placeholder: '[0.0, 1.0, …]'});
    const file = h('input', {type: 'file', accept: '.npy,image/*'});
    const white = select(WHITE_LEVELS, meta.name === 'image' && meta.shape.at(-1) === 8 ? '16' : '1');
    const invert = h('input', {type: 'checkbox'});
    const picture = h('div', {class: 'filter-row', hidden: true}, field('White is', white), field('Dark on light', invert, 'Turns dark strokes into high values.'));
    const parts = {name, datatype, shape, values, white, invert};

    const guarded = async (work) => {
        setText(problem, '');
        try {
            return await work();
        } catch (error) {
            setText(problem, error.message);
            throw error;
        }
    };
    const show = () => guarded(async () => {
        if (!state.file) return;
        const tensor = await fromFile(state.file, parts, meta);
        picture.hidden = tensor.kind !== 'picture';
        shape.value = tensor.shape.join(', '); // a .npy file says itself what it holds
        datatype.value = tensor.datatype;
        values.value = '';
        preview.replaceChildren(tensorView({name: name.value, shape: tensor.shape, datatype: tensor.datatype, data: tensor.values ?? undefined}));
    }).catch(() => preview.replaceChildren());
    file.addEventListener('change', () => { state.file = file.files[0] ?? null; show(); });
    for (const control of [white, invert, shape, datatype]) control.addEventListener('change', show);
    values.addEventListener('input', () => { state.file = null; file.value = ''; picture.hidden = true; preview.replaceChildren(); setText(problem, ''); });

    const zeros = button('Fill with zeros', () => guarded(() => { values.value = JSON.stringify(new Array(elementCount(parseShape(shape.value))).fill(0)); values.dispatchEvent(new Event('input')); }).catch(() => {}), {kind: 'quiet'});
    const node = h('fieldset', {class: 'card input-card'}, h('legend', null, meta.name ? `Input ${meta.name}` : 'Input'),
        !meta.name && field('Name', name),
        h('div', {class: 'filter-row'}, field('Datatype', datatype), field('Shape', shape, meta.shape.length ? `The model takes ${shapeText(meta.shape)}` : undefined), remove && button('Remove', remove, {kind: 'quiet'})),
        h('div', {class: 'input-sources'}, field('Elements', values, 'A JSON array, nested or flat.'), h('div', {class: 'stack'}, field('or a file', file, imageLayout(shapeOrNone(shape.value)) ? 'A picture (PNG, JPEG) or NumPy\'s .npy.' : 'NumPy\'s .npy.'), zeros)),
        picture, preview, problem);
    return {node, read: () => guarded(() => (state.file ? tensorOfFile(state.file, parts, meta) : tensorOfText(parts)))};
}

function shapeOrNone(text) {
    try {
        return parseShape(text);
    } catch {
        return [];
    }
}

function tensorOfText({name, datatype, shape, values}) {
    const tensor = {name: name.value.trim(), shape: parseShape(shape.value), datatype: datatype.value};
    const data = parseValues(values.value);
    const wanted = elementCount(tensor.shape);
    if (data.length !== wanted) throw new Error(`${shapeText(tensor.shape)} takes ${count(wanted)} elements, here are ${count(data.length)}`);
    return {...tensor, data};
}

/* {kind, shape, datatype, values, raw}; values or raw may be null, not both. */
async function fromFile(file, {datatype, shape, white, invert}) {
    if (file.name.endsWith('.npy')) return {kind: 'npy', ...parseNpy(await file.arrayBuffer())};
    const size = parseShape(shape.value);
    const values = await imageValues(file, size, {high: Number(white.value), invert: invert.checked});
    return {kind: 'picture', shape: size, datatype: datatype.value, values, raw: null};
}

async function tensorOfFile(file, parts, meta) {
    const read = await fromFile(file, parts, meta);
    const tensor = {name: parts.name.value.trim(), shape: read.shape, datatype: read.datatype};
    if (read.values && read.values.length <= INLINE_MAX) return {...tensor, data: read.values};
    const raw = read.raw ?? rawElements(read.values, read.datatype);
    if (!raw) throw new Error(`${read.datatype} cannot be made from a picture here`);
    const response = await request('uploads', {method: 'POST', body: raw, headers: {'Content-Type': 'application/octet-stream'}});
    return {...tensor, uri: (await response.json()).uri};
}
