// The page's entry point: sign-in, namespace, navigation between sections, progress of the running job.
// Not here: a section's contents (its own file), DOM helpers (dom.js).

import { get, key, namespace, Refused } from "./api.js";
import { button, labelled, make, note } from "./dom.js";
import { jobs, progress } from "./jobs.js";
import { forgetFilters, memories } from "./memories.js";
import { overview } from "./overview.js";
import { policy } from "./policy.js";
import { retention } from "./retention.js";
import { review } from "./review.js";
import { versions } from "./versions.js";
import { watch } from "./watch.js";

const SECTIONS = { overview: ["Overview", overview], memories: ["Memories", memories],
  review: ["Review", review], versions: ["Versions", versions], retention: ["Retention", retention],
  policy: ["Policy", policy], jobs: ["Jobs", jobs] };

const TOAST_MS = 12000; // time that a message stays
const at = (id) => document.getElementById(id);
const main = at("content");
let turn = 0;
let begun = 0;
let watcher = null;
let listeners = [];

/** The interface for sections: access rights, the running job, messages, refresh. */
const app = {
  access: null,
  live: null,
  jobs: null,
  may: (scope) => app.access.scopes.includes(scope),
  listen: (call) => { listeners.push(call); },
  look: () => watcher?.look(),
  say,
  fail,
  changed: (words) => { app.say(words); show({ again: true }); app.look(); },
};

function fail(error) {
  if (!(error instanceof Refused)) throw error;
  if (error.status === 401) signIn(key.get() ? "The server does not know this key." : "");
  else say(error.message, { stays: true });
}

/** Show a message at the foot of the page, a live region: for TOAST_MS or, with `stays`, until dismissed. */
function say(words, { stays = false } = {}) {
  const told = at("status");
  clearTimeout(say.timer);
  told.replaceChildren(make("span", {}, words));
  if (stays) told.append(button("Dismiss", () => told.replaceChildren()));
  else say.timer = setTimeout(() => told.replaceChildren(), TOAST_MS);
}

// -- signing in ---------------------------------------------------------------------------------------

/** Start, or restart with another key or namespace. `moved`: the focused element is gone, so move the focus. */
async function start({ moved = false } = {}) {
  const mine = ++begun;
  watcher?.stop();
  try {
    const access = await get("/v1/memory/access");
    if (mine !== begun) return undefined;
    app.access = access;
  } catch (error) {
    if (mine !== begun) return undefined;
    if (!(error instanceof Refused)) throw error;
    if (error.code === "namespace_forbidden" && namespace.get()) {
      namespace.drop();
      return start({ moved });
    }
    return error.status === 401 ? fail(error) : trouble(error, start);
  }
  namespace.set(app.access.namespace);
  header();
  watcher = watch({ jobs: looked, progress: working, changed: jobEnded });
  return show({ moved });
}

function signIn(problem) {
  watcher?.stop();
  turn += 1;
  begun += 1;
  key.drop();
  forgetFilters();
  app.access = app.jobs = app.live = null;
  for (const id of ["where", "sections", "working"]) at(id).hidden = true;
  const field = make("input", { type: "password", required: true, autocomplete: "off", spellcheck: "false" });
  const submit = (event) => {
    event.preventDefault();
    const secret = field.value.trim();
    if (!/^[\x21-\x7e]+$/.test(secret)) { // a header allows nothing else
      signIn("This is not a valid key: it contains a space or an unusual character. Was it copied completely?");
      return;
    }
    key.set(secret);
    start({ moved: true });
  };
  main.replaceChildren(make("h1", { tabindex: "-1" }, "Sign in"),
    note("This server asks for an API key. It stays in this tab and is forgotten when you close it."),
    make("form", { class: "filters", on: { submit } }, labelled("API key", field),
      make("button", { class: "primary" }, "Sign in")),
    make("p", { role: "alert", class: "problem" }, problem));
  field.focus();
}

function header() {
  const { namespaces, namespace: here, model, version, key: known } = app.access;
  at("namespace").replaceChildren(...namespaces.map((name) =>
    make("option", { value: name, selected: name === here }, name)));
  at("where").hidden = at("sections").hidden = false;
  at("sign-out").hidden = known === null;
  at("about").textContent = `seal-memory ${version}, model ${model}`;
  at("sections").replaceChildren(make("ul", {}, Object.entries(SECTIONS).map(([name, [title]]) =>
    make("li", {}, make("a", { href: `#${name}` }, title)))));
}

// -- sections -----------------------------------------------------------------------------------------

const named = () => {
  const [name, query] = location.hash.slice(1).split("?");
  return [Object.hasOwn(SECTIONS, name) ? name : "overview", new URLSearchParams(query)];
};

/** Show the section named in the URL. `again`: refresh it in place. `moved`: the user navigated, so move the focus. */
async function show({ again = false, moved = false } = {}) {
  if (app.access === null) return undefined;
  const mine = ++turn;
  const [name, query] = named();
  const [title, render] = SECTIONS[name];
  document.title = `${title} – seal-memory`;
  for (const link of at("sections").querySelectorAll("a")) {
    if (link.hash === `#${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (!again) main.replaceChildren(make("h1", {}, title), note("Loading …"));
  listeners = [];
  strip();
  let nodes;
  try {
    nodes = await render(app, again ? new URLSearchParams() : query);
  } catch (error) {
    if (mine !== turn) return undefined;
    return error instanceof Refused && error.status !== 401 ? trouble(error, () => show({ moved: true }))
      : fail(error);
  }
  if (mine === turn) place(nodes, moved);
  return undefined;
}

/** Replace the section. The focus stays on the same button (`data-key`) or else goes to the heading. */
function place(nodes, moved) {
  const held = main.contains(document.activeElement) ? document.activeElement.dataset.key ?? "" : null;
  main.replaceChildren(...nodes);
  const same = held && [...main.querySelectorAll("[data-key]")].find((one) => one.dataset.key === held);
  if (same) same.focus({ preventScroll: true });
  else if (moved || held !== null) main.querySelector("h1")?.focus({ preventScroll: !moved });
}

function trouble(error, retry) {
  main.replaceChildren(make("h1", { tabindex: "-1" }, "That did not work"),
    make("p", { role: "alert", class: "problem" }, error.message), button("Try again", retry, { class: "primary" }));
}

// -- the running job ----------------------------------------------------------------------------------

function update(live) {
  app.live = live;
  strip();
  for (const call of listeners) call();
}

/** Progress of the running job, below the navigation; the section "Jobs" shows it itself. */
function strip() {
  at("working").hidden = app.live === null || named()[0] === "jobs";
  at("working").replaceChildren(app.live === null ? "" : progress(app.live));
}

function looked(found) {
  app.jobs = found;
  update(found.some((job) => job.state === "running") ? app.live : null);
}

function working(job, event) {
  if (event === null && app.live?.job.id !== job.id) app.say(`The job ${job.kind} has begun.`);
  if (event !== null || app.live?.job.id !== job.id) update({ job, ...event });
}

/** Announce an ended job and refresh the section, unless a dialog is open or a field has the focus. */
function jobEnded(job) {
  app.say(job.state === "done" ? `The job ${job.kind} is done.` : `The job ${job.kind} failed: ${job.error}`);
  const busy = document.querySelector("dialog[open]") !== null
    || (main.contains(document.activeElement) && document.activeElement.matches("input, textarea, select"));
  if (!busy) show({ again: true });
}

addEventListener("hashchange", () => show({ moved: true }));
at("where").addEventListener("submit", (event) => event.preventDefault());
at("namespace").addEventListener("change", (event) => {
  namespace.set(event.target.value);
  forgetFilters();
  turn += 1;
  main.replaceChildren(note("Loading …")); // the old namespace's buttons must not act on the new one
  app.jobs = null;
  listeners = [];
  update(null);
  start();
});
at("sign-out").addEventListener("click", () => signIn(""));
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
start();
