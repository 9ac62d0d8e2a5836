/* Runs tests one after the other and tells of each on a line of standard output, as JSON, which the Python beside it turns
 * into its own results: {name, ok, ms, error, missing}. A test's name is a sentence that is true when it passes.
 * PENSTOCK_TEST_ONLY, a regular expression, runs those whose names match. */

const tests = [];

/** `missing`: what the test would need and this server does not have; then it is skipped, and says so. */
export function test(name, run, missing = null) {
    tests.push({name, run, missing});
}

export async function runAll() {
    const only = new RegExp(process.env.PENSTOCK_TEST_ONLY ?? '');
    for (const {name, run, missing} of tests) {
        if (!only.test(name)) continue;
        const started = performance.now();
        let error = null;
        try {
            if (!missing) await run();
        } catch (caught) {
            error = String(caught.stack ?? caught);
        }
        console.log(JSON.stringify({name, ok: error === null, ms: Math.round(performance.now() - started), error, missing}));
    }
}

/** Asks until the answer is true, and gives it. No test waits for a time, but for what it wants to see. */
export async function until(what, ask, deadline_ms = 120000) {
    const end = performance.now() + deadline_ms;
    for (;;) {
        const answer = await ask();
        if (answer) return answer;
        if (performance.now() > end) throw new Error(`not within ${deadline_ms / 1000} s: ${what}`);
        await new Promise((resolve) => setTimeout(resolve, 50));
    }
}
