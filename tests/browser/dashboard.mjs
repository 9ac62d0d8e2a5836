/* The dashboard in a real browser against a real `penstock dev`: every view, every action. test_dashboard.py starts both. */

import assert from 'node:assert/strict';
import {readFileSync} from 'node:fs';

import {assertAccessible, assertNoOverflow, go, launch, open, server, shoot, withPage} from './browser.mjs';
import {runAll, test, until} from './runner.mjs';

const sample = JSON.parse(readFileSync(`${process.env.PENSTOCK_SAMPLES}/07.json`, 'utf8'));
const browser = await launch();

/* What a server of this version may lack. Where it does, what shows it is skipped, and its 404s are no errors of the page. */
const parts = {stream: '/events', models: '/v2/models'};
const lacks = {};
for (const [part, path] of Object.entries(parts)) {
    const leave = new AbortController();
    const response = await fetch(server + path, {signal: leave.signal});
    if (response.status === 404) lacks[part] = `the server has no GET ${path}`;
    leave.abort();
}
const unavoidable = Object.keys(lacks).length ? [/404/] : [];

function onPage(name, work, {needs, expected = [], ...options} = {}) {
    test(name, () => withPage(browser, work, {...options, expected: [...expected, ...unavoidable]}), lacks[needs] ?? null);
}

/* --- the server, asked directly ------------------------------------------------------------------------------------- */

async function send(command) {
    const response = await fetch(`${server}/jobs`, {method: 'POST', headers: {'Content-Type': 'application/json'}, body: JSON.stringify(command)});
    assert.equal(response.status, 202, await response.clone().text());
    return (await response.json()).job_id;
}

async function record(id) {
    const response = await fetch(`${server}/jobs/${id}`);
    return response.status === 200 ? response.json() : null;
}

async function specOf(id) {
    return (await fetch(`${server}/jobs/${id}/spec`)).json();
}

function reach(id, state) {
    return until(`${id} is ${state}`, async () => {
        const job = await record(id);
        if (['completed', 'failed', 'cancelled'].includes(job?.state)) assert.equal(job.state, state, JSON.stringify(job.error));
        return job?.state === state && job;
    });
}

const pill = (page, state) => page.locator('.job-title .pill', {hasText: state}).waitFor();
const echo = (parameters, more = {}) => ({model: 'echo', parameters, ...more});

/* Jobs of every kind, for the views to show. */
const seeds = {
    done: {...sample, job_id: 'seed-done', labels: {tenant: 'acme', purpose: 'test'}, traceparent: undefined},
    failed: echo({fake_fail: 'invalid_input'}, {job_id: 'seed-failed', labels: {tenant: 'acme'}}),
    retried: echo({fake_fail_attempts: 2, fake_latency_ms: 20}, {job_id: 'seed-retried', backoff_ms: 50}),
    large: echo({fake_output_bytes: 100000}, {job_id: 'seed-large'}),
    running: echo({fake_latency_ms: 3600000, fake_steps: 100000}, {job_id: 'seed-running', timeout_ms: 3600000}),
};
for (const command of Object.values(seeds)) await send(command);
await Promise.all([reach('seed-done', 'completed'), reach('seed-failed', 'failed'), reach('seed-retried', 'completed'), reach('seed-large', 'completed'), reach('seed-running', 'running')]);

/* --- every view ----------------------------------------------------------------------------------------------------- */

const VIEWS = {
    overview: ['#/', '.chart-plot'], jobs: ['#/jobs', '.jobs tbody tr'], nothing: ['#/jobs?label=no%3Dsuch', '.blank-title'],
    job: ['#/jobs/seed-done', '.tensor-image'], failed: ['#/jobs/seed-failed', '.error-box'], retried: ['#/jobs/seed-retried', '.pass:nth-child(3)'], running: ['#/jobs/seed-running', 'progress'],
    submit: ['#/submit?model=digits', '.input-card'], models: ['#/models', '[data-model]'], workers: ['#/workers', '.model-tags'], guarantees: ['#/guarantees', '.facts'], lost: ['#/no/such', '.blank-title'],
};
if (lacks.stream) VIEWS.retried[1] = '.facts';
if (lacks.models) VIEWS.submit[1] = 'form';

for (const colorScheme of ['light', 'dark']) {
    for (const width of [1280, 360]) {
        const judged = (colorScheme === 'light') === (width === 1280); // each theme and each width once
        onPage(`every view fits and is accessible: ${colorScheme}, ${width} wide`, async (page) => {
            await open(page, '#/');
            for (const [name, [hash, sign]] of Object.entries(VIEWS)) {
                const where = `${name}-${colorScheme}-${width}`;
                await go(page, hash);
                await page.locator(`main ${sign}`).first().waitFor();
                await assertNoOverflow(page, where);
                if (judged) await assertAccessible(page, where);
                await shoot(page, where);
            }
        }, {width, colorScheme, axe: judged});
    }
}

/* --- overview ------------------------------------------------------------------------------------------------------- */

onPage('the overview counts jobs and its feed follows events', async (page) => {
    await open(page, '#/');
    await page.locator('.feed-state', {hasText: 'live'}).waitFor();
    const id = await send(echo({}));
    await page.locator('.feed a', {hasText: id}).first().waitFor();
    const shown = page.locator('.tile.state-completed .tile-value');
    await until('the count has grown', async () => Number((await shown.textContent()).replace(',', '')) >= 4);
    await until('a rate is drawn', async () => /[ML]\d/.test(await page.locator('.chart-line.line-completed').first().getAttribute('d') ?? ''));
    await page.locator('.feed a', {hasText: id}).first().click();
    await pill(page, 'Completed');
}, {needs: 'stream'});

onPage('a server that cannot be reached is said, and then all goes on', async (page) => {
    await open(page, '#/');
    await page.locator('.feed-state', {hasText: 'live'}).waitFor();
    await page.context().setOffline(true);
    await page.locator('.notice.error', {hasText: 'Penstock does not answer'}).waitFor();
    await page.context().setOffline(false);
    await page.locator('.notice.error').waitFor({state: 'detached'});
    await page.locator('.feed-state', {hasText: 'live'}).waitFor();
    const id = await send(echo({}));
    await page.locator('.feed a', {hasText: id}).first().waitFor();
}, {needs: 'stream', expected: [/ERR_INTERNET_DISCONNECTED/]});

onPage('a stream of many thousand events leaves the page as large as it was', async (page) => {
    const event = (seq) => `id: p:${seq}\nevent: penstock.job.running\ndata: ${JSON.stringify({at: Date.now(), to: 'running', from: 'queued', job_id: `flood-${seq}`, seq: 2, attempt: 1, crashes: 0, worker: 'w', token: '1-1', model: 'm', reason: 'claim', pad: 'x'.repeat(200)})}\n\n`;
    let served = 0;
    await page.route('**/events', (route) => {
        const first = served;
        served += 5000;
        return route.fulfill({contentType: 'text/event-stream', body: Array.from({length: 5000}, (_, i) => event(first + i)).join('')});
    });
    const heap = async () => {
        const session = await page.context().newCDPSession(page);
        await session.send('HeapProfiler.collectGarbage');
        return (await session.send('Runtime.getHeapUsage')).usedSize;
    };
    await open(page, '#/');
    await until('the first flood is shown', () => page.locator('.feed li').count());
    const before = await heap();
    await until('five more floods came', () => served >= 30000);
    const after = await heap();
    assert.ok(await page.locator('.feed li').count() <= 12);
    assert.ok(after - before < 4e6, `the heap grew by ${after - before} bytes with 25,000 events of 400`);
});

/* --- jobs ----------------------------------------------------------------------------------------------------------- */

onPage('jobs are filtered by state, model and label, and the address says so', async (page) => {
    await open(page, '#/jobs');
    await page.getByRole('button', {name: 'Failed'}).click();
    await page.locator('.jobs a', {hasText: 'seed-failed'}).waitFor();
    await page.locator('.jobs a', {hasText: 'seed-done'}).waitFor({state: 'detached'});
    assert.match(page.url(), /#\/jobs\?state=failed$/);
    await page.getByRole('button', {name: 'All'}).click();
    await page.getByLabel('Label').fill('purpose=test');
    await page.getByLabel('Label').press('Enter');
    await page.locator('.jobs a', {hasText: 'seed-done'}).waitFor();
    assert.equal(await page.locator('.jobs tbody tr').count(), 1);
    await page.getByText('Clear filters').click();
    await page.getByLabel('Model').selectOption('echo');
    await page.locator('.jobs a', {hasText: 'seed-large'}).waitFor();
    await page.locator('.jobs a', {hasText: 'seed-done'}).waitFor({state: 'detached'});
    await page.getByLabel('Changed').selectOption('1h');
    await until('both filters stand in the address', () => /model=echo&since=1h/.test(page.url()));
    await page.goBack();
    await until('the back button takes the last filter back', () => !/since/.test(page.url()));
});

onPage('a job is found by its id, and an unknown id is said', async (page) => {
    await open(page, '#/');
    await page.keyboard.press('/');
    await page.locator('#find-job:focus').waitFor();
    await page.keyboard.type('no-such-job');
    await page.keyboard.press('Enter');
    await page.locator('.problem', {hasText: 'There is no job no-such-job.'}).waitFor();
    await page.locator('#find-job').fill('seed-done');
    await page.keyboard.press('Enter');
    await pill(page, 'Completed');
}, {expected: [/404/]});

onPage('the first page of jobs is live', async (page) => {
    await open(page, '#/jobs?label=test%3Dlive');
    await page.locator('.blank-title').waitFor();
    const id = await send(echo({}, {labels: {test: 'live'}}));
    await page.locator('.jobs tr', {hasText: id}).getByText('Completed').waitFor();
});

onPage('older jobs are a page away, and the back button returns', async (page) => {
    const ids = await Promise.all(Array.from({length: 60}, () => send(echo({}, {labels: {test: 'pages'}}))));
    await Promise.all(ids.map((id) => reach(id, 'completed')));
    await open(page, '#/jobs?state=completed&label=test%3Dpages');
    await until('the first page is full', async () => await page.locator('.jobs tbody tr').count() === 50);
    await page.getByText('Older jobs').click();
    await until('the second page has the rest', async () => await page.locator('.jobs tbody tr').count() === 10);
    await page.getByRole('link', {name: 'First page'}).waitFor();
    await page.goBack();
    await until('the first page again', async () => await page.locator('.jobs tbody tr').count() === 50);
});

/* --- one job -------------------------------------------------------------------------------------------------------- */

onPage('a completed job shows what went in, what came out and what happened', async (page) => {
    await open(page, '#/jobs/seed-done');
    await pill(page, 'Completed');
    await page.locator('.tensor-image').waitFor();
    assert.equal(await page.locator('.bar').count(), 10);
    const {data} = (await record('seed-done')).result.outputs[0];
    assert.equal(await page.locator('.bar.best .bar-index').textContent(), String(data.indexOf(Math.max(...data))));
    if (!lacks.stream) await until('three events', async () => await page.locator('.events tbody tr').count() === 3);
    await page.locator('.labels', {hasText: 'purpose=test'}).waitFor();
    await page.getByText('As JSON').click();
    assert.match(await page.locator('.json').textContent(), /"job_id": "seed-done"/);
});

onPage('a failed job says why, what to do, and whether trying again helps', async (page) => {
    await open(page, '#/jobs/seed-failed');
    const {error} = await reach('seed-failed', 'failed');
    const box = page.locator('.error-box');
    await box.waitFor();
    for (const text of [error.code, error.message, error.hint, 'will not help']) assert.ok((await box.textContent()).includes(text), text);
});

onPage('each run of a job that was tried again has its row', async (page) => {
    // One of its own: by now the mock cluster may have dropped the events of the first jobs, and rows are drawn from events.
    const id = await send(echo({fake_fail_attempts: 2, fake_latency_ms: 20}, {backoff_ms: 50}));
    await reach(id, 'completed');
    await open(page, `#/jobs/${id}`);
    await until('three rows', async () => await page.locator('.pass').count() === 3);
    assert.match(await page.locator('.pass').nth(0).textContent(), /Run 1.*to be tried again/);
    assert.match(await page.locator('.pass').nth(2).textContent(), /Run 3.*completed/);
}, {needs: 'stream'});

onPage('a running job shows its progress, and is cancelled with a reason', async (page) => {
    const id = await send(echo({fake_latency_ms: 600000, fake_steps: 60000}));
    await open(page, `#/jobs/${id}`);
    await pill(page, 'Running');
    await page.getByText('Cancel job').click();
    await page.getByText('Keep it').click();
    assert.equal((await record(id)).cancel_requested, false);
    await page.getByText('Cancel job').click();
    await page.getByLabel('Reason').fill('enough of it');
    await page.locator('dialog').getByText('Cancel job').click();
    await pill(page, 'Cancelled');
    await page.locator('.notice', {hasText: 'enough of it'}).waitFor();
    if (!lacks.stream) await page.locator('.pass', {hasText: 'cancelled'}).waitFor();
});

onPage('a large output is downloaded whole', async (page) => {
    await open(page, '#/jobs/seed-large');
    const [download] = await Promise.all([page.waitForEvent('download'), page.getByText(/^Download, 97.7 KiB/).click()]);
    assert.equal(readFileSync(await download.path()).length, 100000);
});

onPage('a job that is not there is said, not loaded for ever', async (page) => {
    await open(page, '#/jobs/never-was');
    await page.locator('.blank-title', {hasText: 'There is no such job'}).waitFor();
}, {expected: [/404/]});

onPage('markup in a job is shown, not run', async (page) => {
    const evil = '<img src=x onerror=alert(1)>';
    const id = await send(echo({}, {not_before: '2100-01-01T00:00:00Z'}));
    await reach(id, 'queued');
    await fetch(`${server}/jobs/${id}?reason=${encodeURIComponent(evil)}`, {method: 'DELETE'});
    await reach(id, 'cancelled');
    await open(page, `#/jobs/${id}`);
    await page.locator('.notice', {hasText: evil}).waitFor();
    assert.equal(await page.locator('main img').count(), 0);
});

/* --- submitting ----------------------------------------------------------------------------------------------------- */

async function landsOnJob(page) {
    await until('the page of the job', () => /#\/jobs\/[^/?]+$/.test(page.url()));
    return decodeURIComponent(page.url().split('/').at(-1));
}

onPage('a picture becomes the input of a job', async (page) => {
    await open(page, '#/submit?model=digits');
    const picture = await page.screenshot({clip: {x: 0, y: 0, width: 64, height: 64}});
    await page.getByLabel('or a file').setInputFiles({name: 'digit.png', mimeType: 'image/png', buffer: picture});
    await page.locator('.input-preview .tensor-image').waitFor();
    await page.getByLabel('Dark on light').check();
    await page.getByText('Submit job').click();
    const id = await landsOnJob(page);
    await pill(page, 'Completed');
    const spec = await specOf(id);
    assert.deepEqual(spec.inputs[0].shape, [1, 1, 8, 8]);
    assert.ok(spec.inputs[0].data.flat(9).every((value) => value >= 0 && value <= 16));
}, {needs: 'models'});

function npy(shape, values) {
    const dict = `{'descr': '<f4', 'fortran_order': False, 'shape': (${shape.join(', ')},), }`;
    const head = Buffer.from(`\x93NUMPY\x01\x00\x00\x00${dict}\n`, 'latin1');
    head.writeUInt16LE(head.length - 10, 8);
    return Buffer.concat([head, Buffer.from(Float32Array.from(values).buffer)]);
}

for (const [size, how] of [[4, 'sent in the command'], [20000, 'uploaded']]) {
    onPage(`a .npy file of ${size} elements is ${how}`, async (page) => {
        await open(page, '#/submit?model=echo');
        await page.getByText('Add an input').click();
        await page.getByLabel('Name').fill('x');
        await page.getByLabel('or a file').setInputFiles({name: 'x.npy', mimeType: 'application/octet-stream', buffer: npy([size], new Array(size).fill(0.5))});
        await page.getByText('Submit job').click();
        const id = await landsOnJob(page);
        await pill(page, 'Completed');
        const spec = await specOf(id);
        const {result} = await record(id);
        assert.equal(spec.inputs[0].uri === undefined, size === 4);
        assert.deepEqual(result.outputs[0].data, [size / 2, size]);
    });
}

onPage('what is wrong with a form is said before anything is sent', async (page) => {
    await open(page, '#/submit?model=digits');
    await page.getByLabel('Elements').fill('1 2 3');
    await page.getByText('Submit job').click();
    await page.locator('.input-card .problem', {hasText: 'takes 64 elements, here are 3'}).waitFor();
    await page.getByText('Fill with zeros').click();
    await page.getByText('Options').click();
    await page.getByLabel('Job id').fill('from-the-form');
    await page.getByLabel('Labels').fill('a=1, b=2');
    await page.getByText('Submit job').click();
    assert.equal(await landsOnJob(page), 'from-the-form');
    assert.deepEqual((await reach('from-the-form', 'completed')).labels, {a: '1', b: '2'});
}, {needs: 'models'});

onPage('a refused command shows the hint of the server', async (page) => {
    await open(page, '#/submit');
    await page.getByRole('button', {name: 'JSON'}).click();
    await page.getByLabel('Create command').fill('{"model": "digitz"}');
    await page.getByText('Submit job').click();
    await page.locator('.error-box', {hasText: 'unknown_model'}).waitFor();
}, {expected: [/40[04]/]});

onPage('a job is sent again from its page', async (page) => {
    await open(page, '#/jobs/seed-done');
    await page.getByText('Submit again').click();
    await page.getByText('Submit job').click();
    const id = await landsOnJob(page);
    await until('another job', async () => id !== 'seed-done' && (await record(id))?.state === 'completed');
});

/* --- models, workers, guarantees ------------------------------------------------------------------------------------ */

onPage('a model is paused, resumed, drained and opened again', async (page) => {
    await open(page, '#/models');
    const card = page.locator('.card', {has: page.locator('[data-model="digits"]')});
    for (const [word, state] of [['Pause', 'Paused'], ['Drain', 'Draining']]) {
        await card.getByText(word, {exact: true}).click();
        await page.locator('dialog').getByText(word, {exact: true}).click();
        await card.locator('.pill', {hasText: state}).waitFor();
        await card.getByText('Resume').click();
        await card.getByText(word, {exact: true}).waitFor();
    }
});

onPage('a worker shows its device, its heartbeat and the job in hand', async (page) => {
    await open(page, '#/workers');
    await page.locator('.card', {hasText: 'seed-running'}).waitFor();
    assert.match(await page.locator('.card').first().textContent(), /Heartbeat(now|\d+ s ago)/);
    await page.locator('.job-links a', {hasText: 'seed-running'}).click();
    await pill(page, 'Running');
});

onPage('the guarantees name what Redis and Kafka are set to', async (page) => {
    await open(page, '#/guarantees');
    await page.locator('.card', {hasText: 'Redis'}).first().waitFor();
    await page.locator('.card', {hasText: 'Kafka'}).first().waitFor();
});

/* --- keys, theme, token --------------------------------------------------------------------------------------------- */

onPage('everything is reached by keys', async (page) => {
    await open(page, '#/');
    await page.keyboard.press('Tab');
    await page.locator('.skip:focus').waitFor();
    await page.keyboard.press('Enter');
    await page.locator('main:focus').waitFor();
    for (const [key, title] of [['j', 'Jobs'], ['s', 'Submit'], ['m', 'Models'], ['w', 'Workers'], ['g', 'Guarantees'], ['o', 'Overview']]) {
        await until(title, async () => { // a machine that is busy may take longer between the keys than the page waits for the second
            await page.keyboard.press('g');
            await page.keyboard.press(key);
            return (await page.title()).startsWith(title);
        });
    }
    await page.keyboard.press('?');
    await page.locator('dialog .keys').waitFor();
    await page.keyboard.press('Escape');
    await page.locator('dialog').waitFor({state: 'detached'});
});

onPage('the theme is chosen, and stays over a reload', async (page) => {
    await open(page, '#/');
    const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const light = await background();
    for (let i = 0; i < 2; i++) await page.getByRole('button', {name: 'Theme'}).click();
    const dark = await background();
    assert.notEqual(dark, light);
    await page.reload();
    await page.waitForSelector('main h1');
    assert.equal(await background(), dark);
});

const guarded = process.env.PENSTOCK_GUARDED_URL;
onPage('a token is asked for where one is needed, and kept for the tab', async (page) => {
    await open(page, '#/jobs', guarded);
    await page.getByLabel('Token', {exact: true}).fill('wrong');
    await page.getByText('Go on').click();
    await page.locator('dialog', {hasText: 'does not know the token'}).waitFor();
    await page.getByLabel('Token', {exact: true}).fill(process.env.PENSTOCK_TOKEN);
    await page.getByText('Go on').click();
    await page.locator('.jobs tbody tr').first().waitFor();
    await page.reload();
    await page.locator('.jobs tbody tr').first().waitFor();
    await go(page, '#/jobs/seed-large');
    const [download] = await Promise.all([page.waitForEvent('download'), page.getByText(/^Download, /).click()]);
    assert.equal(readFileSync(await download.path()).length, 100000);
    await page.getByRole('button', {name: 'Forget the token'}).click();
    await page.locator('dialog', {hasText: 'wants to know who is asking'}).waitFor();
}, {origin: guarded, expected: [/401/]});

await runAll();
await browser.close();
