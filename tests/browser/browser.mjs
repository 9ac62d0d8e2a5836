/* Debian's Chromium for the tests: a page each, which must log no error, ask no other host and keep to the server's
 * Content-Security-Policy; axe-core judges what is shown. */

import assert from 'node:assert/strict';
import {mkdirSync} from 'node:fs';
import {createRequire} from 'node:module';

const tools = createRequire(`${process.env.PENSTOCK_BROWSER_TOOLS}/`);
const {chromium} = tools('playwright-core');
const axeSource = tools('axe-core').source;

export const server = process.env.PENSTOCK_URL;
const shots = process.env.PENSTOCK_SHOTS;
const WAIT_MS = 120000;

/* A container has no sandbox of its own to give, and nothing but the server under test is to be asked. */
const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];

export function launch() {
    mkdirSync(shots, {recursive: true});
    return chromium.launch({executablePath: process.env.PENSTOCK_CHROMIUM, args: FLAGS});
}

/** Runs work(page) on a fresh page and then judges what was logged. `expected`: patterns of errors that belong to it. */
export async function withPage(browser, work, {width = 1280, colorScheme = 'light', origin = server, expected = [], axe = false} = {}) {
    const context = await browser.newContext({viewport: {width, height: width < 500 ? 740 : 800}, colorScheme, acceptDownloads: true, reducedMotion: 'reduce'});
    context.setDefaultTimeout(WAIT_MS);
    if (axe) await context.addInitScript({content: axeSource});
    const page = await context.newPage();
    const wrong = [];
    page.on('console', (message) => { if (['error', 'warning'].includes(message.type())) wrong.push(message.text()); });
    page.on('pageerror', (error) => wrong.push(String(error.stack)));
    page.on('request', (request) => { if (!request.url().startsWith(origin) && !request.url().startsWith('blob:')) wrong.push(`asked ${request.url()}`); });
    try {
        await work(page);
    } finally {
        await context.close();
    }
    assert.deepEqual(wrong.filter((text) => !expected.some((pattern) => pattern.test(text))), [], 'what the page logged');
}

export async function open(page, hash = '#/', origin = server) {
    await page.goto(`${origin}/${hash}`);
    await page.waitForSelector('main h1');
}

/** Goes to another view without loading the page again. */
export async function go(page, hash) {
    await page.evaluate((to) => { location.hash = to; }, hash);
    await page.waitForSelector('main h1');
}

export function shoot(page, name) {
    return page.screenshot({path: `${shots}/${name}.png`, fullPage: page.viewportSize().width > 500, animations: 'disabled'});
}

/** No finding of axe-core that is serious or critical. The page was made with {axe: true}. */
export async function assertAccessible(page, where) {
    const found = await page.evaluate(async () => (await globalThis.axe.run(document, {resultTypes: ['violations']})).violations
        .filter(({impact}) => impact === 'serious' || impact === 'critical').map(({id, nodes}) => `${id}: ${nodes.map(({html}) => html).slice(0, 3).join(' ')}`));
    assert.deepEqual(found, [], `axe-core, ${where}`);
}

export async function assertNoOverflow(page, where) {
    const beyond = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.ok(beyond <= 0, `${where}: ${beyond} pixels wider than the window`);
}
