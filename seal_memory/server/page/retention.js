// Section "Retention": heat map and forgetting curve of recall at audits, also as tables.
// Not here: drawing and computing (the server does).

import { get } from "./api.js";
import { count, make, note, picture, section, share, signed, table, when, wide } from "./dom.js";

export async function retention() {
  const [found, map, curve] = await Promise.all([
    get("/v1/memory/retention"), get("/v1/memory/pictures/retention"), get("/v1/memory/pictures/curve"),
  ]);
  const heading = make("h1", { tabindex: "-1" }, "Retention");
  const lead = note("Recall of questions that were never trained on, asked closed book when a shard is published and "
    + "again at each audit.");
  if (!map.svg) return [heading, lead, note("No audit yet; audits run when they are due.")];
  return [heading, lead, figures(found), heat(found, map.svg), kept(found, curve.svg)];
}

function figures(found) {
  const lost = Object.values(found.forgetting);
  if (!lost.length) return note("No memory has been audited again yet.");
  const mean = lost.reduce((sum, x) => sum + x, 0) / lost.length;
  return make("dl", { class: "figures" },
    make("div", {}, make("dt", {}, "Backward transfer"), make("dd", {}, signed(found.backward_transfer))),
    make("div", {}, make("dt", {}, "Mean forgetting"), make("dd", {}, signed(mean))),
    make("div", {}, make("dt", {}, "Audited again"), make("dd", {}, count(lost.length, "memory", "memories"))));
}

function heat(found, svg) {
  const { memories, moments, cells } = found.matrix;
  const name = (memory) => found.names[memory] ?? "a memory that is gone";
  const rows = moments.map((moment, i) =>
    [`version ${moment.version}`, when(moment.time), ...memories.map((_, j) => share(cells[i][j]))]);
  return section("Heat map", note("A row for each audit, a column for each memory; the number is recall in per cent, "
    + "stronger colour is more. Empty: not asked then."),
    wide("Recall of every memory at every audit", picture(svg)),
    make("details", {}, make("summary", {}, "Which column is which memory"),
      make("ol", {}, memories.map((memory) => make("li", {}, name(memory))))),
    make("details", {}, make("summary", {}, "The same as a table"),
      wide("Recall as a table", grid("Recall of every memory at every audit",
        ["Version", "When", ...memories.map((memory, j) => `${j + 1}: ${name(memory)}`)], rows))));
}

/** A table that stays a grid on a narrow screen. */
function grid(caption, headings, rows) {
  const drawn = table(caption, headings, rows);
  drawn.classList.remove("cards");
  return drawn;
}

function kept(found, svg) {
  const rows = found.curve.map((point) => [String(point.asked_again), signed(point.change)]);
  return section("Forgetting curve", note(
    "Change of recall since a memory was learned, by the number of later audits."),
    svg ? wide("Change of recall since learning", picture(svg)) : note("It begins with the second audit of a memory."),
    make("details", {}, make("summary", {}, "The same as a table"),
      table("Change of recall since learning", ["Asked again", "Mean change of recall"], rows)));
}
