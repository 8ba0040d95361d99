// Section "Versions": contents of each published version, lineage of the adapters, rollback.
// Not here: the rollback dialog (actions.js), drawing (the server does).

import { get } from "./api.js";
import { rollBack } from "./actions.js";
import { badge, button, count, make, note, picture, section, size, table, tail, time, wide } from "./dom.js";

export async function versions(app) {
  const [history, { adapters }, drawn] = await Promise.all([
    get("/v1/memory/history"), get("/v1/memory/adapters"), get("/v1/memory/pictures/lineage"),
  ]);
  return [
    make("h1", { tabindex: "-1" }, "Versions"),
    note(history.current ? `Version ${history.current} answers now.` : "The untouched model answers now."),
    history.versions.length ? table("Published versions, newest first",
      ["Version", "State", "Published", "Holds", "Comes from", "Way back"],
      [...history.versions.map((row) => version(app, row, history.current)), untouched(app, history.current)])
      : note("Nothing is published yet."),
    drawn.svg ? section("Lineage", note("A row for each version, oldest first; a square for each adapter: filled where "
      + "it is new, hollow where it was kept, orange for a core. The numbers stand in the table above."),
      wide("Versions and the adapters they hold", picture(drawn.svg))) : "",
    section("Adapters", adapters.length ? table("Adapters on record, newest first",
      ["Adapter", "State", "Learned from", "Size", "Trained"], adapters.map(adapter)) : note("None yet.")),
  ];
}

function version(app, row, current) {
  const holds = `${count(row.shards.length, "shard")}${row.core ? ", a core" : ""}, `
    + count(row.interactions, "memory", "memories");
  const origin = [row.parent ? `version ${row.parent}` : "", row.note].filter(Boolean).join(", ");
  return [String(row.version), row.version === current ? badge("answers now") : "–", time(row.created), holds,
    origin || "–", back(app, row.version, row, current)];
}

const untouched = (app, current) =>
  ["0", current === 0 ? badge("answers now") : "–", "–", "the untouched model", "–", back(app, 0, null, current)];

function back(app, number, row, current) {
  if (number === current || !app.may("admin")) return "–";
  const words = number > current ? "Roll forward" : "Roll back";
  return button(words, () => rollBack(app, number, row, words),
    { "aria-label": `${words} to version ${number}`, "data-key": `rollback ${number}` });
}

function adapter(a) {
  const from = a.kind === "policy" ? "the note-writer's own" : a.kind === "core" ? "the core, over many"
    : a.name ?? count(a.interactions.length, "memory", "memories");
  return [make("code", { title: a.id }, tail(a.id)), a.published ? badge("answers now") : "kept",
    from, make("span", { class: "figure" }, size(a.bytes)), time(a.created)];
}
