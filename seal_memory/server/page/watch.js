// Watches jobs: follows the running one by its events; polls every few seconds when none runs or the stream breaks.
// Not here: showing them.

import { follow, get, Refused } from "./api.js";

const IDLE = 4000;
const SOON = 1000; // milliseconds, while something is queued
const ENDS = new Set(["done", "failed", "dead"]);
const WAITING = new Set(["queued", "failed"]);

/**
 * Watch a namespace's jobs until `stop()`. Calls `on.jobs(list)` after each poll, `on.progress(job, event)` while one
 * runs (event null: it started), `on.changed(job)` when one ended. `look()` polls at once.
 */
export function watch(on) {
  const ended = new AbortController();
  let wake = () => {};
  run(on, ended.signal, (call) => { wake = call; });
  return { stop: () => { ended.abort(); wake(); }, look: () => wake() };
}

async function run(on, signal, wakeable) {
  let known = null;
  while (!signal.aborted) {
    let pause = IDLE;
    try {
      const { jobs } = await get("/v1/memory/jobs", { limit: 50 }, signal);
      on.jobs(jobs);
      known = news(known, jobs, on);
      const running = jobs.find((job) => job.state === "running");
      const now = Date.now() / 1000;
      if (jobs.some((job) => WAITING.has(job.state) && job.not_before <= now)) pause = SOON;
      if (running) {
        pause = await followed(running, on, signal) ? 0 : SOON;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof Refused)) throw error;
      if (error.status === 401 || error.status === 403) return;
    }
    await rest(document.hidden ? 4 * pause : pause, wakeable);
  }
}

/** Report each job that ended since the last poll; returns the new states by id. */
function news(known, jobs, on) {
  const states = new Map(jobs.map((job) => [job.id, `${job.state} ${job.attempts}`]));
  if (known !== null) {
    for (const job of jobs) {
      const before = known.get(job.id);
      if (before !== states.get(job.id) && ENDS.has(job.state)) on.changed(job);
    }
  }
  return states;
}

/** Follow the running job until it is no longer running (ended or handed back). False if the stream broke: then the
 *  next poll shows the state. */
async function followed(job, on, signal) {
  const left = new AbortController();
  const leave = () => left.abort();
  signal.addEventListener("abort", leave, { once: true });
  on.progress(job, null);
  try {
    await follow(job.id, (name, data) => {
      if (name === "progress") on.progress(job, data);
      else if (name === "state" && data.job.state !== "running") leave();
    }, left.signal);
    return true;
  } catch (error) {
    if (left.signal.aborted && !signal.aborted) return true;
    const broken = error instanceof TypeError || (error instanceof Refused && error.status === 0);
    if (signal.aborted || !broken) throw error;
    return false;
  } finally {
    signal.removeEventListener("abort", leave);
  }
}

const rest = (milliseconds, wakeable) => new Promise((resolve) => {
  const timer = setTimeout(resolve, milliseconds);
  wakeable(() => { clearTimeout(timer); resolve(); });
});
