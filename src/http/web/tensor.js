/* Tensors of the Open Inference Protocol, as a person sees them: in numbers, as a picture, as bars; and the way back, from a
 * PNG or a .npy file to a tensor that a job can be sent with. */

import {h, svg} from './dom.js';
import {bytes, count, element} from './format.js';
import {facts} from './parts.js';

const IMAGE_SIDE_MIN = 4;
const IMAGE_SIDE_MAX = 1024;
const BARS_MAX = 32;
const VALUES_SHOWN = 64;

/** [constructor of the elements in memory, .npy's descr]; what has no constructor here is only named. */
const DATATYPES = {
    BOOL: [Uint8Array, '|b1'], UINT8: [Uint8Array, '|u1'], INT8: [Int8Array, '|i1'],
    UINT16: [Uint16Array, '<u2'], INT16: [Int16Array, '<i2'], UINT32: [Uint32Array, '<u4'], INT32: [Int32Array, '<i4'],
    UINT64: [BigUint64Array, '<u8'], INT64: [BigInt64Array, '<i8'], FP16: [null, '<f2'], FP32: [Float32Array, '<f4'], FP64: [Float64Array, '<f8'],
};
export const DATATYPE_NAMES = [...Object.keys(DATATYPES), 'BYTES'];

export function elementCount(shape) {
    return shape.reduce((product, size) => product * size, 1);
}

export function shapeText(shape) {
    return `[${shape.map((size) => (size < 0 ? '?' : size)).join(', ')}]`;
}

/** Flat, whatever the nesting. Not by flat(Infinity): that recurses, and an array may be deep. */
export function flatten(data) {
    let flat = data;
    while (Array.isArray(flat) && flat.some(Array.isArray)) flat = flat.flat();
    return flat;
}

/** Of what is finite: {min, max, mean}; null where there is nothing to compare. */
export function statistics(values) {
    let min = Infinity;
    let max = -Infinity;
    let sum = 0;
    let n = 0;
    for (const value of values) {
        if (typeof value !== 'number' || !Number.isFinite(value)) continue;
        min = Math.min(min, value);
        max = Math.max(max, value);
        sum += value;
        n++;
    }
    return n ? {min, max, mean: sum / n} : null;
}

/* --- as a picture --------------------------------------------------------------------------------------------------- */

/** The layout of an image-like shape: {width, height, channels, planar}; null for other shapes. Of a batch, the first. */
export function imageLayout(shape) {
    const dims = shape.length === 4 ? shape.slice(1) : shape;
    const sided = (size) => size >= IMAGE_SIDE_MIN && size <= IMAGE_SIDE_MAX;
    const coloured = (size) => size === 1 || size === 3;
    if (dims.length === 2 && sided(dims[0]) && sided(dims[1])) return {height: dims[0], width: dims[1], channels: 1, planar: true};
    if (dims.length !== 3) return null;
    if (coloured(dims[0]) && sided(dims[1]) && sided(dims[2])) return {channels: dims[0], height: dims[1], width: dims[2], planar: true};
    if (sided(dims[0]) && sided(dims[1]) && coloured(dims[2])) return {height: dims[0], width: dims[1], channels: dims[2], planar: false};
    return null;
}

/* From the least to the largest value, except where the values have a usual range: 0 to 1, or bytes. */
function grayRange(values, datatype) {
    if (datatype === 'UINT8') return {low: 0, high: 255};
    const {min, max} = statistics(values) ?? {min: 0, max: 1};
    if (min >= 0 && max <= 1) return {low: 0, high: 1};
    return {low: Math.min(min, 0), high: max > min ? max : min + 1};
}

export function imageCanvas(values, shape, datatype, name) {
    const layout = imageLayout(shape);
    if (!layout) return null;
    const {width, height, channels, planar} = layout;
    const {low, high} = grayRange(values, datatype);
    const canvas = h('canvas', {class: 'tensor-image', width, height, role: 'img', 'aria-label': `${name} as a picture of ${width} by ${height}`});
    const context = canvas.getContext('2d');
    const picture = context.createImageData(width, height);
    for (let i = 0; i < width * height; i++) {
        for (let c = 0; c < 3; c++) {
            const channel = channels === 1 ? 0 : c;
            const value = values[planar ? channel * width * height + i : i * channels + channel];
            picture.data[i * 4 + c] = (Number(value) - low) * 255 / (high - low);
        }
        picture.data[i * 4 + 3] = 255;
    }
    context.putImageData(picture, 0, 0);
    return canvas;
}

/* --- as bars -------------------------------------------------------------------------------------------------------- */

/** A vector of a few numbers, whatever dimensions of 1 stand around it. */
export function isSmallVector(values, shape) {
    return values.length > 1 && values.length <= BARS_MAX && shape.filter((size) => size !== 1).length === 1
        && values.every((value) => typeof value === 'number' && Number.isFinite(value));
}

export function barChart(values, name) {
    const low = Math.min(0, ...values);
    const high = Math.max(0, ...values);
    const span = high - low || 1;
    const best = values.indexOf(Math.max(...values));
    const percent = (value) => `${((value - low) / span * 100).toFixed(2)}%`;
    return h('ol', {class: 'bars', 'aria-label': `Elements of ${name}`}, values.map((value, i) => {
        const width = `${(Math.abs(value) / span * 100).toFixed(2)}%`;
        return h('li', {class: i === best ? 'bar best' : 'bar'}, h('span', {class: 'bar-index'}, String(i)),
            svg('svg', {class: 'bar-track', 'aria-hidden': 'true'}, svg('rect', {x: percent(Math.min(value, 0)), width, height: '100%', rx: 2})),
            h('span', {class: 'bar-value'}, element(value), i === best && h('span', {class: 'bar-best'}, ' largest')));
    }));
}

/* --- a tensor in full ----------------------------------------------------------------------------------------------- */

/** What a tensor holds, drawn as far as that helps. `download`: a node for those whose elements are in a file. */
export function tensorView(tensor, download = null) {
    const values = tensor.data === undefined ? null : flatten(tensor.data);
    const range = values && statistics(values);
    const picture = values && imageCanvas(values, tensor.shape, tensor.datatype, tensor.name);
    const bars = values && !picture && isSmallVector(values, tensor.shape) ? barChart(values, tensor.name) : null;
    return h('section', {class: 'tensor'},
        h('h3', {class: 'tensor-head'}, h('code', null, tensor.name), h('span', {class: 'tag'}, tensor.datatype), h('span', {class: 'tag'}, shapeText(tensor.shape))),
        h('div', {class: 'tensor-body'}, picture, h('div', {class: 'tensor-text'},
            facts([
                ['Elements', count(elementCount(tensor.shape))],
                ['Range', range && `${element(range.min)} to ${element(range.max)}`],
                ['Mean', range && element(range.mean)],
                ['Size', tensor.bytes === undefined ? undefined : bytes(tensor.bytes)],
                ['SHA-256', tensor.sha256 && h('code', {class: 'hash'}, tensor.sha256), 'whole'],
                ['File', tensor.uri && h('code', {class: 'hash'}, tensor.uri), 'whole'],
            ]), download)),
        bars, values && !bars && valuesText(values));
}

function valuesText(values) {
    const shown = values.slice(0, VALUES_SHOWN).map(element).join(', ');
    const rest = values.length - VALUES_SHOWN;
    return h('details', {class: 'values'}, h('summary', null, 'Values'), h('p', null, h('code', null, rest > 0 ? `${shown}, … ${count(rest)} more` : shown)));
}

/* --- files to tensors ----------------------------------------------------------------------------------------------- */

/** NumPy's format: {shape, datatype, values, raw}. Throws an Error that says what is wrong. */
export function parseNpy(buffer) {
    const head = new Uint8Array(buffer, 0, Math.min(buffer.byteLength, 12));
    if (String.fromCharCode(...head.slice(1, 6)) !== 'NUMPY' || head[0] !== 0x93) throw new Error('This is no .npy file');
    const view = new DataView(buffer);
    const wide = head[6] >= 2;
    const start = wide ? 12 : 10;
    const length = wide ? view.getUint32(8, true) : view.getUint16(8, true);
    const text = new TextDecoder('latin1').decode(new Uint8Array(buffer, start, length));
    const descr = /'descr':\s*'([^']+)'/.exec(text)?.[1];
    const shape = /'shape':\s*\(([^)]*)\)/.exec(text)?.[1].split(',').map((part) => part.trim()).filter(Boolean).map(Number);
    if (/'fortran_order':\s*True/.test(text)) throw new Error('The array is in Fortran order; save numpy.ascontiguousarray(a)');
    const datatype = Object.keys(DATATYPES).find((name) => DATATYPES[name][1] === descr);
    if (!datatype || !shape) throw new Error(`Arrays of type ${descr ?? 'unknown'} are not taken`);
    const raw = buffer.slice(start + length);
    const kind = DATATYPES[datatype][0];
    if (kind && raw.byteLength !== elementCount(shape) * kind.BYTES_PER_ELEMENT) throw new Error('The .npy file is cut off, or has more than one array');
    return {shape, datatype, raw, values: kind && Array.from(new kind(raw), (value) => jsonElement(value, datatype))};
}

function jsonElement(value, datatype) {
    if (datatype === 'BOOL') return value !== 0;
    if (typeof value === 'number') return Number.isFinite(value) ? value : String(value);
    return Number.isSafeInteger(Number(value)) ? Number(value) : String(value); // what JSON's numbers cannot hold
}

/** A picture's pixels as elements of `shape`, from 0 to `high`; scaled to its size, gray where it has one channel. */
export async function imageValues(file, shape, {high, invert}) {
    const layout = imageLayout(shape);
    if (!layout) throw new Error(`The shape ${shapeText(shape)} is not that of a picture`);
    const {width, height, channels, planar} = layout;
    let bitmap;
    try {
        bitmap = await createImageBitmap(file);
    } catch {
        throw new Error(`${file.name} is no picture that the browser can read`);
    }
    const context = h('canvas', {width, height}).getContext('2d', {willReadFrequently: true});
    context.fillStyle = '#fff';
    context.fillRect(0, 0, width, height); // what is transparent counts as white
    context.imageSmoothingQuality = 'high';
    context.drawImage(bitmap, 0, 0, width, height);
    const pixels = context.getImageData(0, 0, width, height).data;
    const values = new Array(width * height * channels);
    for (let i = 0; i < width * height; i++) {
        const [red, green, blue] = pixels.slice(i * 4, i * 4 + 3);
        const colours = channels === 1 ? [0.299 * red + 0.587 * green + 0.114 * blue] : [red, green, blue]; // BT.601's luma
        colours.forEach((colour, c) => {
            const level = (invert ? 255 - colour : colour) * high / 255;
            values[planar ? c * width * height + i : i * channels + c] = high === 255 ? Math.round(level) : Number(level.toFixed(4));
        });
    }
    return values;
}

/** Little-endian elements, as an upload wants them; null for datatypes that have no array type here. */
export function rawElements(values, datatype) {
    const kind = DATATYPES[datatype]?.[0];
    if (!kind) return null;
    return kind === BigInt64Array || kind === BigUint64Array ? kind.from(values, (value) => BigInt(value)) : kind.from(values, Number);
}
