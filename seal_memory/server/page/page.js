// The page: signing in, choosing a namespace, moving between sections, and what runs now.
// Not here: what a section shows (its own file), how elements are made (dom.js).

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

const READ = 12000; // milliseconds that news stay
const at = (id) => document.getElementById(id);
const main = at("content");
let turn = 0;
let begun = 0;
let watcher = null;
let listeners = [];

/** What sections may use: who they show to, what runs, and ways to say or change something. */
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

/** Tell it at the foot of the page, aloud too; it goes after a while, or (`stays`) when somebody has read it. */
function say(words, { stays = false } = {}) {
  const told = at("status");
  clearTimeout(say.timer);
  told.replaceChildren(make("span", {}, words));
  if (stays) told.append(button("Dismiss", () => told.replaceChildren()));
  else say.timer = setTimeout(() => told.replaceChildren(), READ);
}

// -- signing in ---------------------------------------------------------------------------------------

/** Begin, or begin again: as another key, in another namespace. `moved`: what had the focus is gone. */
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
    if (!/^[\x21-\x7e]+$/.test(secret)) { // nothing else can stand in a header
      signIn("This is no key: it has a space or an unusual character in it. Was all of it copied?");
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

/** Show the section that the address names. `again`: it is there already and is renewed in its place. `moved`: the
 *  person went there, so the focus goes along. */
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

/** Put a section in its place. Where the focus was in it, it stays on the same button, or goes to the heading. */
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

// -- what runs now ------------------------------------------------------------------------------------

function tell(live) {
  app.live = live;
  strip();
  for (const call of listeners) call();
}

/** What runs, under the sections' names; the section of jobs has it in its own place. */
function strip() {
  at("working").hidden = app.live === null || named()[0] === "jobs";
  at("working").replaceChildren(app.live === null ? "" : progress(app.live));
}

function looked(found) {
  app.jobs = found;
  tell(found.some((job) => job.state === "running") ? app.live : null);
}

function working(job, event) {
  if (event === null && app.live?.job.id !== job.id) app.say(`The job ${job.kind} has begun.`);
  if (event !== null || app.live?.job.id !== job.id) tell({ job, ...event });
}

/** Say it, and renew what is shown, unless somebody is writing or deciding just now. */
function jobEnded(job) {
  app.say(job.state === "done" ? `The job ${job.kind} is done.` : `The job ${job.kind} went wrong: ${job.error}`);
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
  main.replaceChildren(note("Loading …")); // the other namespace's buttons must not reach this one
  app.jobs = null;
  listeners = [];
  tell(null);
  start();
});
at("sign-out").addEventListener("click", () => signIn(""));
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
start();
