/* The dashboard's modules that need no page: parsing, arithmetic, bounds. Run by test_modules.py on Node.js. */

import assert from 'node:assert/strict';
import {pathToFileURL} from 'node:url';

import {runAll, test} from './runner.mjs';

const load = (name) => import(pathToFileURL(`${process.env.PENSTOCK_WEB}/${name}.js`));
const [chart, format, house, jobs, stream, inputs, tensor, timeline] = await Promise.all(
    ['chart', 'format', 'house', 'view_jobs', 'stream', 'submit_inputs', 'tensor', 'timeline'].map(load));

test('events are parsed whole, however the text is cut', () => {
    const text = ': hello\r\n\r\nid: 1\nevent: penstock.job.queued\ndata: {"a":1}\n\nid: 2\nevent: x\ndata: one\ndata: two\n\ndata:three\n\n:\n\nid: 9\ndata: cut off';
    const expected = [{id: '1', type: 'penstock.job.queued', data: '{"a":1}'}, {id: '2', type: 'x', data: 'one\ntwo'}, {id: '2', type: '', data: 'three'}];
    for (let size = 1; size <= text.length; size++) {
        const seen = [];
        const parser = new stream.EventParser((event) => seen.push(event));
        for (let at = 0; at < text.length; at += size) parser.feed(text.slice(at, at + size));
        assert.deepEqual(seen, expected, `in pieces of ${size}`);
    }
});

test('durations, sizes and elements are short and right', () => {
    const {bytes, count, duration, element} = format;
    assert.deepEqual([0, 999, 1000, 9940, 12000, 59600, 61000, 3600000, 93784000, -5].map(duration),
        ['0 ms', '999 ms', '1.0 s', '9.9 s', '12 s', '1 min', '1 min 1 s', '1 h', '1 d 2 h', '0 ms']);
    assert.equal(duration(undefined), '–');
    assert.deepEqual([0, 1023, 1024, 1048576, 5e9].map(bytes), ['0 B', '1023 B', '1.0 KiB', '1.0 MiB', '4.7 GiB']);
    assert.deepEqual([0, 1234, 123456].map(count), ['0', '1,234', '123.5K']);
    assert.deepEqual([0, 0.1 + 0.2, 1e-9, 'NaN', true, 12345678].map(element), ['0', '0.3', '1.00e-9', 'NaN', 'true', '1.235e+7']);
});

test('history holds five minutes, however long the page is open', () => {
    const history = [];
    const queues = Array.from({length: 30}, (_, i) => ({model: `m${i}`, queued: i, running: 0}));
    for (let i = 0; i < 5000; i++) {
        house.remember({at: i * 2000, states: {completed: i * 10, failed: 0, cancelled: 0}}, queues, history);
        assert.ok(history.length <= house.HISTORY_LENGTH);
    }
    assert.equal(history.at(-1).rates.completed, 5);
    assert.equal(Object.keys(history.at(-1).depths).length, house.MODELS_MAX);
    assert.ok('m29' in history.at(-1).depths);
});

test('a count that falls is no negative rate, and a gap is no rate at all', () => {
    const history = [];
    for (const [at, completed] of [[0, 100], [2000, 60], [60000, 500], [62000, 502]]) house.remember({at, states: {completed, failed: 0, cancelled: 0}}, [], history);
    assert.deepEqual(history.map((sample) => sample.rates.completed), [null, 0, null, 1]);
});

test('an axis ends in a round number that is not below the largest value', () => {
    for (const max of [0, 0.3, 1, 3, 7, 99, 101, 12345, 9.9e6]) {
        const {step, top} = chart.niceScale(max);
        assert.ok(top >= Math.max(max, 1) && top / step <= 5.001, `${max}: ${top} by ${step}`);
        assert.match((step / 10 ** Math.floor(Math.log10(step))).toFixed(2), /^(1|2|5|10)\.0+$/);
    }
});

test('an axis of counts has whole ticks', () => {
    for (const max of [0, 1, 3, 5]) assert.ok(Number.isInteger(chart.niceScale(max, 4).step), String(max));
});

test('a line is broken where values are missing', () => {
    assert.equal(chart.pathOf([[0, 1], [1, 2], null, [3, 4]]), 'M0.0 1.0L1.0 2.0M3.0 4.0');
});

test('the rounds of a job are its waits, delays and runs', () => {
    const events = [
        {at: 0, to: 'queued', attempt: 0, reason: 'create'}, {at: 10, to: 'running', attempt: 1, worker: 'w'}, {at: 30, to: 'queued', attempt: 1, reason: 'retry', not_before: 50},
        {at: 55, to: 'running', attempt: 2, worker: 'w'}, {at: 90, to: 'failed', attempt: 2, reason: 'timeout'},
    ];
    const [first, second, ...rest] = timeline.passesOf(events, 90);
    assert.equal(rest.length, 0);
    assert.deepEqual([first.wait, first.run, first.outcome, first.delay], [{from: 0, to: 10}, {from: 10, to: 30}, 'queued', undefined]);
    assert.deepEqual([second.delay, second.wait, second.run, second.outcome], [{from: 30, to: 50}, {from: 50, to: 55}, {from: 55, to: 90}, 'failed']);
});

test('a job cancelled while it was held back has neither a run nor a wait behind its end', () => {
    const [pass] = timeline.passesOf([{at: 0, to: 'queued', attempt: 0, not_before: 9000}, {at: 100, to: 'cancelled', attempt: 0}], 100);
    assert.deepEqual([pass.delay, pass.wait, pass.run, pass.outcome], [{from: 0, to: 100}, {from: 100, to: 100}, undefined, 'cancelled']);
});

test('a record tells the last round of its job', () => {
    const record = {state: 'failed', attempt: 2, created_at: 1, queued_at: 10, started_at: 20, finished_at: 50, worker: 'w'};
    const [pass, ...rest] = timeline.passesOf(timeline.eventsOfRecord(record), 50);
    assert.equal(rest.length, 0);
    assert.deepEqual([pass.wait, pass.run, pass.outcome, pass.attempt], [{from: 10, to: 20}, {from: 20, to: 50}, 'failed', 2]);
    const again = timeline.passesOf(timeline.eventsOfRecord({...record, state: 'queued', queued_at: 60, finished_at: undefined}), 90);
    assert.deepEqual([again[0].wait, again[0].run], [{from: 60, to: 90}, undefined]);
});

test('shapes that are pictures are known, and others are not', () => {
    const {imageLayout} = tensor;
    assert.deepEqual(imageLayout([1, 1, 8, 8]), {channels: 1, height: 8, width: 8, planar: true});
    assert.deepEqual(imageLayout([32, 3, 224, 200]), {channels: 3, height: 224, width: 200, planar: true});
    assert.deepEqual(imageLayout([1, 64, 48, 3]), {height: 64, width: 48, channels: 3, planar: false});
    assert.deepEqual(imageLayout([28, 28]), {height: 28, width: 28, channels: 1, planar: true});
    for (const shape of [[], [10], [1, 10], [1, 2, 8, 8], [1, 1, 4096, 4096]]) assert.equal(imageLayout(shape), null, String(shape));
});

test('nested and very deep data become flat', () => {
    let deep = [1, 2];
    for (let i = 0; i < 2000; i++) deep = [deep];
    assert.deepEqual(tensor.flatten(deep), [1, 2]);
    assert.deepEqual(tensor.flatten([[[1], [2]], [[3], [4]]]), [1, 2, 3, 4]);
});

function npy(dict, bytes) {
    const head = Buffer.from(`\x93NUMPY\x01\x00\x00\x00${dict}\n`, 'latin1');
    head.writeUInt16LE(head.length - 10, 8);
    return new Uint8Array(Buffer.concat([head, bytes])).buffer;
}

test('.npy files are read, and what is wrong with one is said', () => {
    const good = tensor.parseNpy(npy("{'descr': '<i2', 'fortran_order': False, 'shape': (2, 3), }", Buffer.from(Int16Array.of(1, -2, 3, 4, 5, 6).buffer)));
    assert.deepEqual([good.shape, good.datatype, good.values], [[2, 3], 'INT16', [1, -2, 3, 4, 5, 6]]);
    const wide = tensor.parseNpy(npy("{'descr': '<u8', 'fortran_order': False, 'shape': (2,), }", Buffer.from(BigUint64Array.of(7n, 2n ** 64n - 1n).buffer)));
    assert.deepEqual(wide.values, [7, '18446744073709551615']);
    assert.throws(() => tensor.parseNpy(new ArrayBuffer(4)), /no \.npy file/);
    assert.throws(() => tensor.parseNpy(npy("{'descr': '<f4', 'fortran_order': True, 'shape': (1,), }", Buffer.alloc(4))), /Fortran/);
    assert.throws(() => tensor.parseNpy(npy("{'descr': '<c8', 'fortran_order': False, 'shape': (1,), }", Buffer.alloc(8))), /<c8/);
    assert.throws(() => tensor.parseNpy(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (9,), }", Buffer.alloc(4))), /cut off/);
});

test('shapes and elements are taken as people write them', () => {
    assert.deepEqual(inputs.parseShape('[1, 3,224]'), [1, 3, 224]);
    assert.deepEqual(inputs.parseShape(''), []);
    for (const wrong of ['1,x', '-1', '1.5']) assert.throws(() => inputs.parseShape(wrong), /whole numbers/);
    assert.deepEqual(inputs.parseValues('[[1,2],[3,4]]'), [1, 2, 3, 4]);
    assert.deepEqual(inputs.parseValues('1 2.5,\n-3'), [1, 2.5, -3]);
    assert.throws(() => inputs.parseValues('one'), /no elements/);
    assert.throws(() => inputs.parseValues(' '), /missing/);
});

test('short pages are joined until there is a full one, or the end, or enough was asked', async () => {
    const part = (n, next) => ({jobs: Array.from({length: n}, (_, i) => ({job_id: String(i)})), next_cursor: next});
    const read = (parts) => { const asked = []; return [asked, async (path) => { asked.push(path); return parts.shift(); }]; };
    let [asked, reader] = read([part(0, 'a'), part(20, 'b'), part(30, 'c')]);
    let page = await jobs.readPage(new URLSearchParams('state=failed'), null, reader);
    assert.equal(page.jobs.length, 50);
    assert.equal(page.next_cursor, 'c');
    assert.deepEqual(asked, ['jobs?state=failed&limit=50', 'jobs?state=failed&limit=50&cursor=a', 'jobs?state=failed&limit=30&cursor=b']);
    [asked, reader] = read(Array.from({length: 20}, (_, i) => part(0, `n${i}`)));
    page = await jobs.readPage(new URLSearchParams(), null, reader);
    assert.equal(asked.length, 8);
    assert.equal(page.next_cursor, 'n7');
    [asked, reader] = read([part(3, undefined)]);
    assert.equal((await jobs.readPage(new URLSearchParams('cursor=z'), null, reader)).next_cursor, undefined);
    assert.deepEqual(asked, ['jobs?cursor=z&limit=50']);
});

await runAll();
