// Section "Review": pending, quarantined, refused, skipped and rejected interactions, and the latest publish decisions.
// Not here: the dialogs (actions.js), all memories (memories.js).

import { get } from "./api.js";
import { itemButtons, learnButton, review as decide } from "./actions.js";
import { badge, button, count, make, note, section, table, time } from "./dom.js";
import { listed } from "./memories.js";

const LATEST = 20;

export async function review(app) {
  const look = (...status) => get("/v1/memory/interactions", { status, limit: LATEST });
  const [pending, held, rejected, refused, { decisions }] = await Promise.all([
    look("pending"), look("quarantined"), look("rejected"), look("refused", "skipped"),
    get("/v1/memory/decisions", { limit: LATEST }),
  ]);
  return [
    make("h1", { tabindex: "-1" }, "Review"),
    section("Quarantined", note("These texts instruct the model instead of stating something. They are not learned, "
      + "indexed or shown to it until you approve them."),
      items(app, held, "quarantined", (item) => verdicts(app, item, ["approve", "reject"]))),
    section("Pending", note("Learned by the next consolidation."), learnButton(app) ?? "",
      items(app, pending, "pending")),
    section("Refused and skipped", note("Not in the weights; retrieval can still answer from their text."),
      items(app, refused, "refused")),
    section("Rejected", note("Kept on record, never used."),
      items(app, rejected, "rejected", (item) => verdicts(app, item, ["approve"]))),
    section("The gate's latest decisions", decisions.length ? gate(decisions) : note("None yet.")),
  ];
}

function items(app, found, status, buttons = () => null) {
  if (!found.total) return note("Nothing.");
  const more = found.total > found.items.length && make("p", {},
    `${count(found.total, "text")}; the newest ${found.items.length} are shown. `,
    make("a", { href: `#memories?status=${status}` }, "Show all in Memories"));
  return make("div", {},
    make("ul", { class: "items" }, found.items.map((item) => listed(app, item, buttons(item)))), more || "");
}

function verdicts(app, item, verbs) {
  const own = itemButtons(app, item);
  if (own === null) return null;
  const words = { approve: "Approve", reject: "Reject" };
  own.prepend(...verbs.map((verb) => button(words[verb], () => decide(app, verb, item),
    { "aria-label": `${words[verb]}: ${item.text.slice(0, 60)}`, "data-key": `${verb} ${item.id}` })));
  return own;
}

function gate(decisions) {
  return table("Decisions of the publish gate, newest first", ["Verdict", "Memory", "Because", "When"],
    decisions.map((d) => [
      badge(d.accepted ? "published" : "refused"), d.name ?? "–", d.reasons.join(" ") || "–", time(d.time),
    ]));
}
