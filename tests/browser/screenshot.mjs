/* node screenshot.mjs JOB FILE: a picture of the job's page, once its events, inputs and outputs are there. For scripts/screenshot. */

import {launch, open, withPage} from './browser.mjs';

const [job, file] = process.argv.slice(2);
const browser = await launch();
await withPage(browser, async (page) => {
    await open(page, `#/jobs/${job}`);
    for (const sign of ['.tensor-image', '.bar', '.pass', '.events tbody tr:nth-child(3)']) await page.locator(`main ${sign}`).first().waitFor();
    await page.screenshot({path: file, animations: 'disabled'});
});
await browser.close();
