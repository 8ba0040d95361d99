// The section of background jobs: the one that runs, live, and the latest ones with what became of them.
// Not here: following them (watch.js).

import { get } from "./api.js";
import { learnButton } from "./deeds.js";
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
    app.access.trains ? "" : note("This server does not train; a worker has to do what is queued."),
    section("Now", live),
    section("Latest", latest),
  ];
}

const rows = (found) => (found.length ? table("Jobs, newest first",
  ["Job", "State", "Attempts", "Changed", "Last error"], found.map(row)) : note("None yet."));

const row = (job) => [make("span", { title: job.id }, `${job.kind} ${tail(job.id)}`), badge(job.state),
  `${job.attempts} of ${job.max_attempts}`, time(job.changed), job.error ?? "–"];

/** What runs now, and how far it is; `live` is null where nothing does. */
export function progress(live) {
  if (live === null) return note("Nothing runs.");
  const { job, phase, done, total } = live;
  const words = phase ? `${job.kind}: ${phase}, ${done} of ${total}` : `${job.kind}: begins`;
  const bar = make("progress", { "aria-label": words, ...(phase && total ? { max: total, value: done } : {}) });
  return make("p", { class: "progress" }, make("span", {}, words), bar);
}
