// Actions on a memory, each with a confirmation dialog: correct, forget, roll back, approve, reject; and consolidate.
// Not here: the lists that hold the buttons.

import { post } from "./api.js";
import { ask } from "./dialogs.js";
import { button, count, labelled, make, note, revealed, share, tail } from "./dom.js";

const list = (...lines) => make("ul", {}, lines.filter(Boolean).map((line) => make("li", {}, line)));
const quote = (text) => make("blockquote", { class: "text" }, revealed(text));

/** Replace an interaction's text. */
export async function correct(app, item) {
  const field = make("textarea", { rows: 5, required: true });
  field.value = item.text;
  const done = await ask({
    title: "Correct this memory",
    content: [
      labelled("New wording", field),
      note("The old wording stays on record but is no longer trained on: shards and versions trained on it are "
        + "destroyed. The next consolidation learns the new wording."),
    ],
    label: "Correct", busy: "Correcting …", first: field,
    work: async () => {
      const told = await post("/v1/memory/correct", { id: item.id, text: field.value });
      const fate = told.status === "pending" ? "It will be learned with the next consolidation."
        : `The new wording is ${told.status}: ${told.reason}.`;
      return [make("p", {}, "Corrected. ", fate), gone(told.adapters, told.snapshots)];
    },
  });
  if (done) app.changed("The memory was corrected.");
}

const gone = (adapters, snapshots) => list(
  `${count(adapters.length, "adapter")} destroyed`,
  `${count(snapshots.length, "version")} destroyed${snapshots.length ? `: ${snapshots.join(", ")}` : ""}`);

/** Forget the interactions that `what` selects ({ids} or {session}), after a preview of what that destroys. */
export async function forget(app, what, subject) {
  const done = await ask({
    title: "Forget for good?",
    content: preview(what, subject),
    label: "Forget for good", busy: "Forgetting …", danger: true,
    work: async () => report(await post("/v1/memory/forget", what)),
  });
  if (done) app.changed("Forgotten.");
}

async function preview(what, subject) {
  const told = await post("/v1/memory/forget/preview", what);
  return [
    typeof subject === "string" ? make("p", {}, subject) : subject,
    make("p", {}, "This cannot be undone. It destroys:"),
    list(
      count(told.interactions, "recorded text") + (told.interactions > 1 ? ", earlier wordings included" : ""),
      `${count(told.self_edits, "set of notes", "sets of notes")} and ${count(told.quiz_items, "quiz question")} `
        + "made from that",
      told.adapters.length > 0
        && `${count(told.adapters.length, "adapter")} trained on that, ${told.published.length} of these in use now`,
      told.snapshots.length > 0
        && `${count(told.snapshots.length, "version")} with these adapters: ${told.snapshots.join(", ")}`),
    make("p", {}, shared(told)),
  ];
}

function shared({ adapters, to_relearn: others }) {
  if (!adapters.length) return "No adapter was trained on it.";
  return others.length ? `Memories that shared an adapter with it will be learned again: ${others.length}.` : "";
}

function report(told) {
  const recall = told.recall_after === null ? null : make("p", {},
    `Recall of what was forgotten: ${share(told.recall_before)} before, ${share(told.recall_after)} now; the untouched `
    + `model has ${share(told.recall_base)}.`);
  return [
    make("p", { class: "good" }, "Forgotten. Destroyed were:"),
    list(
      count(told.interactions, "recorded text"),
      `${count(told.self_edits, "set of notes", "sets of notes")}, ${count(told.quiz_items, "quiz question")}`,
      count(told.adapters.length, "adapter"),
      count(told.snapshots.length, "version") + (told.snapshots.length ? `: ${told.snapshots.join(", ")}` : "")),
    make("p", {}, told.version ? `Version ${told.version} answers now.` : "The untouched model answers now."),
    told.to_relearn.length > 0
      ? make("p", {}, `${count(told.to_relearn.length, "memory waits", "memories wait")} to be learned again.`) : "",
    recall ?? "",
  ];
}

export const forgetOne = (app, item) => forget(app, { ids: [item.id] }, quote(item.text));

/** Publish another version. `row`: its history entry (null: version 0); `words`: "Roll back" or "Roll forward". */
export async function rollBack(app, version, row, words) {
  const holds = row && `${count(row.shards.length, "shard")} with ${count(row.interactions, "memory", "memories")}`;
  const what = row ? `It holds ${holds}.` : "The untouched model will answer; it knows nothing of this memory.";
  const done = await ask({
    title: row ? `${words} to version ${version}?` : "Roll back to the untouched model?",
    content: [
      make("p", {}, what),
      make("p", {}, "No version is lost; you can switch back. Memories that this version does not hold become pending, "
        + "and the next consolidation learns them again."),
    ],
    label: words, busy: "One moment …",
    work: async () => { await post("/v1/memory/rollback", { version }); },
  });
  if (done) app.changed(row ? `Version ${version} answers now.` : "The untouched model answers now.");
}

/** Decide about a quarantined interaction; `verb`: "approve" or "reject". */
export async function review(app, verb, item) {
  const reason = make("input", { type: "text", maxlength: 1000, autocomplete: "off" });
  const approving = verb === "approve";
  const done = await ask({
    title: approving ? "Approve this text?" : "Reject this text?",
    content: [
      quote(item.text),
      note(approving ? "It will be learned, indexed and shown to the model like anything else."
        : "It stays on record and is never learned, however often it is seen again."),
      labelled("Why (optional, kept on record)", reason),
    ],
    label: approving ? "Approve" : "Reject", busy: "One moment …", danger: !approving,
    work: async () => {
      await post(`/v1/memory/quarantine/${verb}`, { ids: [item.id], reason: reason.value.trim() || null });
    },
  });
  if (done) app.changed(approving ? "Approved: it waits to be learned." : "Rejected.");
}

/** The buttons of one interaction; null without the scope admin. */
export function itemButtons(app, item) {
  if (!app.may("admin")) return null;
  const about = { "aria-label": `Forget: ${item.text.slice(0, 60)}`, "data-key": `forget ${item.id}` };
  const withheld = ["superseded", "quarantined", "rejected"].includes(item.status);
  return make("div", { class: "actions" },
    withheld ? null : button("Correct", () => correct(app, item),
      { "aria-label": `Correct: ${item.text.slice(0, 60)}`, "data-key": `correct ${item.id}` }),
    button("Forget", () => forgetOne(app, item), { ...about, class: "danger-quiet" }));
}

/** The button that queues a consolidation; null without the scope admin. */
export function learnButton(app) {
  if (!app.may("admin")) return null;
  return button("Consolidate now", async (event) => {
    event.target.disabled = true;
    try {
      const { job } = await post("/v1/memory/consolidate", {});
      app.say(app.access.trains ? "The consolidation is queued; its progress is shown at the top."
        : `Job ${tail(job.id)} is queued. This server does not train: a worker has to do it.`);
      app.look();
    } catch (error) {
      app.fail(error);
    } finally {
      event.target.disabled = false;
    }
  }, { class: "primary", "data-key": "consolidate" });
}
