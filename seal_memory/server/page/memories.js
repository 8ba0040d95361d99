// Section "Memories": search, filters, pages, and the actions on each interaction.
// Not here: the dialogs (actions.js), quarantine (review.js).

import { get } from "./api.js";
import { forget, itemButtons } from "./actions.js";
import { badge, button, count, labelled, make, note, revealed, select, tail, time } from "./dom.js";

const AT_ONCE = 25;
const LONG = 600; // characters
const STATUSES = ["pending", "learned", "refused", "skipped", "quarantined", "rejected", "superseded"];
const ROLES = ["user", "assistant", "system", "tool", "document"];
const chosen = { words: "", status: "", role: "", session: "", offset: 0 };

/** The section. `query` may preset the status filter. */
export async function memories(app, query) {
  if (query.has("status")) Object.assign(chosen, { words: "", role: "", session: "", offset: 0 },
    { status: query.get("status") });
  const results = make("div", { id: "results" });
  const [{ sessions }] = await Promise.all([get("/v1/memory/sessions"), fill(app, results)]);
  return [make("h1", { tabindex: "-1" }, "Memories"), filters(app, results, sessions), results];
}

/** Reset the filters, for another namespace. */
export const forgetFilters = () =>
  Object.assign(chosen, { words: "", status: "", role: "", session: "", offset: 0 });

function filters(app, results, sessions) {
  const words = make("input", { type: "search", maxlength: 1000, value: chosen.words, autocomplete: "off" });
  const status = select([["", "all"], ...STATUSES.map((s) => [s, s])], chosen.status);
  const role = select([["", "all"], ...ROLES.map((r) => [r, r])], chosen.role);
  const session = select([["", "all"], ...sessions.map((s) => [s.session, `${s.session} (${s.interactions})`])],
    chosen.session);
  const look = () => {
    Object.assign(chosen, { words: words.value, status: status.value, role: role.value, session: session.value,
      offset: 0 });
    refill(app, results);
  };
  for (const field of [status, role, session]) field.addEventListener("change", look);
  const submit = (event) => { event.preventDefault(); look(); };
  return make("form", { class: "filters", role: "search", on: { submit } },
    labelled("Search in texts", words), labelled("Status", status), labelled("Role", role),
    labelled("Session", session), make("button", { class: "primary" }, "Search"));
}

async function refill(app, results) {
  try {
    await fill(app, results);
  } catch (error) {
    app.fail(error);
  }
}

async function fill(app, results) {
  const { words, status, role, session, offset } = chosen;
  const found = await get("/v1/memory/interactions", { words, status, role, session, offset, limit: AT_ONCE });
  if (found.total && offset >= found.total) {
    chosen.offset = Math.max(0, offset - AT_ONCE);
    return fill(app, results);
  }
  results.replaceChildren(...shown(app, results, found));
  return undefined;
}

function shown(app, results, found) {
  const last = found.offset + found.items.length;
  const told = !found.total ? "Nothing found."
    : `${count(found.total, "memory", "memories")}, ${found.offset + 1}–${last} shown, newest first`;
  const turn = (by) => {
    chosen.offset = Math.max(0, found.offset + by);
    results.scrollIntoView();
    refill(app, results);
  };
  const pages = found.total > AT_ONCE && make("nav", { class: "pages", "aria-label": "Pages" },
    button("Newer", () => turn(-AT_ONCE), { disabled: found.offset === 0 }),
    button("Older", () => turn(AT_ONCE), { disabled: last >= found.total }));
  return [
    make("div", { class: "told" }, make("p", { role: "status" }, told), wholeSession(app)),
    make("ul", { class: "items" }, found.items.map((item) => listed(app, item))), pages || "",
  ];
}

function wholeSession(app) {
  if (!chosen.session || !app.may("admin")) return null;
  const subject = `Everything seen in the session “${revealed(chosen.session)}”, whatever the other filters show.`;
  const what = { session: chosen.session };
  return button("Forget this whole session", () => forget(app, what, subject), { class: "danger-quiet" });
}

/** One interaction: text, origin, status. `extra`: buttons instead of the usual ones. */
export function listed(app, item, extra = null) {
  const facts = [
    item.role, item.session && `session ${revealed(item.session)}`, item.source && `from ${revealed(item.source)}`,
    item.sightings > 1 && `seen ${item.sightings} times`, item.shard && `in shard ${tail(item.shard)}`,
    item.superseded_by && `replaced by ${tail(item.superseded_by)}`,
  ].filter(Boolean);
  return make("li", { class: "item", "data-id": item.id },
    item.title ? make("h3", {}, revealed(item.title)) : null,
    text(item.text),
    make("p", { class: "facts" }, badge(item.status), " ", facts.join(" · "), " · ", time(item.time)),
    item.reason ? note(`Because: ${revealed(item.reason)}`) : null,
    extra ?? itemButtons(app, item));
}

function text(whole) {
  const clear = revealed(whole);
  if (clear.length <= LONG) return make("p", { class: "text" }, clear);
  return make("details", { class: "text" },
    make("summary", {}, `${clear.slice(0, LONG)}…`), make("p", { class: "text" }, clear));
}
