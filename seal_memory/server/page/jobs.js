// Section "Jobs": progress of the running job, and the latest jobs with their states.
// Not here: following jobs (watch.js).

import { get } from "./api.js";
import { learnButton } from "./actions.js";
import { badge, make, note, section, table, tail, time } from "./dom.js";

export async function jobs(app) {
  const found = await get("/v1/memory/jobs", { limit: 50 });
  const [live, latest] = [make("div"), make("div")];
  let drawn = null;
  const draw = () => {
    live.replaceChildren(progress(app.live));
    if (drawn !== app.jobs) latest.replaceChildren(rows(app.jobs ?? found.jobs));
    drawn = app.jobs;
  };
  latest.replaceChildren(rows(found.jobs));
  app.listen(draw);
  draw();
  return [
    make("h1", { tabindex: "-1" }, "Jobs"),
    learnButton(app) ?? "",
    app.access.trains ? "" : note("This server does not train; a worker has to run the queued jobs."),
    section("Now", live),
    section("Latest", latest),
  ];
}

const rows = (found) => (found.length ? table("Jobs, newest first",
  ["Job", "State", "Attempts", "Changed", "Last error"], found.map(row)) : note("None yet."));

const row = (job) => [make("span", { title: job.id }, `${job.kind} ${tail(job.id)}`), badge(job.state),
  `${job.attempts} of ${job.max_attempts}`, time(job.changed), job.error ?? "–"];

/** The running job's progress bar; `live` null: nothing runs. */
export function progress(live) {
  if (live === null) return note("Nothing runs.");
  const { job, phase, done, total } = live;
  const words = phase ? `${job.kind}: ${phase}, ${done} of ${total}` : `${job.kind}: begins`;
  const bar = make("progress", { "aria-label": words, ...(phase && total ? { max: total, value: done } : {}) });
  return make("p", { class: "progress" }, make("span", {}, words), bar);
}
