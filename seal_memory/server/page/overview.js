// Section "Overview": status of the memory, and a form to ask it.
// Not here: the header (page.js), other actions (actions.js).

import { address, get, post } from "./api.js";
import { learnButton } from "./actions.js";
import { count, labelled, make, note, revealed, section, select, share, size, table, tail, time } from "./dom.js";

const MODES = [["hybrid", "hybrid: weights, then text"], ["weights", "weights only"], ["retrieval", "text only"]];

export async function overview(app) {
  const [status, ready] = await Promise.all([get("/v1/memory/status"), readiness()]);
  return [
    make("h1", { tabindex: "-1" }, "Overview"),
    make("p", { class: "told" }, ready),
    facts(status),
    section("Memories", statuses(status), learnButton(app) ?? ""),
    question(app),
    status.dead.length ? section("Given up", note("These jobs ran out of attempts; they are tried again when something "
      + "changes."), table("Jobs given up", ["Job", "When", "Because"],
      status.dead.map((job) => [job.kind, time(job.changed), job.error ?? "–"]))) : "",
    app.may("admin") ? "" : note("Your key may read but not change anything: that needs the scope admin."),
  ];
}

async function readiness() {
  let told;
  try {
    told = await (await fetch(address("/readyz"), { cache: "no-store", credentials: "omit" })).json();
  } catch (error) {
    if (!(error instanceof TypeError || error instanceof SyntaxError)) throw error;
    return "The server does not tell whether it is ready.";
  }
  if (told.status === "ready") return "The server is ready.";
  const missing = [["model", "the model is not loaded yet"], ["running", "it is stopping"],
    ["ledger", "its ledger cannot be read"]].filter(([name]) => told[name] === false).map(([, words]) => words);
  return `The server is not ready: ${missing.join(", ") || told.status}.`;
}

function facts(status) {
  const fact = (name, value) => make("div", {}, make("dt", {}, name), make("dd", {}, value));
  return make("dl", { class: "figures" },
    fact("Answers", status.version ? `version ${status.version}` : "untouched model"),
    fact("Shards", `${status.shards}${status.core ? " and a core" : ""}`),
    fact("Adapters", size(status.adapter_bytes)),
    fact("Quiz questions", status.quiz_items.toLocaleString()),
    fact("Audits due", `${status.audits_due}`),
    fact("Next audit", status.next_audit === null ? "–" : time(status.next_audit)),
    fact("Notes written by", status.note_writer === null ? "untouched model" : `version ${status.note_writer}`),
    fact("Queue", count(status.queue.length, "job")));
}

function statuses(status) {
  const present = Object.entries(status.interactions).filter(([, n]) => n > 0);
  if (!present.length) return note("Nothing recorded yet. Chats through this server are recorded, or use observe.");
  return make("ul", { class: "chips" }, present.map(([status, n]) =>
    make("li", {}, make("a", { href: `#memories?status=${status}` }, `${n.toLocaleString()} ${status}`))));
}

// -- ask ----------------------------------------------------------------------------------------------

function question(app) {
  const field = make("input", { type: "text", required: true, maxlength: 20000, autocomplete: "off" });
  const mode = select(MODES, app.access.mode);
  const go = make("button", { class: "primary" }, "Ask");
  const answer = make("div", { class: "answer", "aria-live": "polite" });
  const submit = async (event) => {
    event.preventDefault();
    go.disabled = true;
    answer.replaceChildren(note("Thinking …"));
    try {
      const { answers } = await post("/v1/memory/ask", { question: field.value, mode: mode.value });
      answer.replaceChildren(...await told(answers[0]));
    } catch (error) {
      answer.replaceChildren();
      app.fail(error);
    } finally {
      go.disabled = false;
    }
  };
  return section("Ask", make("form", { class: "filters ask", on: { submit } },
    labelled("Question", field), labelled("Answer from", mode), go), answer);
}

async function told(answer) {
  const by = answer.shards.map((s) => `shard ${tail(s.adapter_id)} (match ${share(s.score)})`).join(", ");
  const from = answer.mode === "retrieval" ? "from stored text" : `from ${by || "the untouched model"}`;
  const version = answer.snapshot ? `, version ${answer.snapshot}` : "";
  return [
    make("p", { class: "text said" }, revealed(answer.text) || "(no answer)"),
    note(`${from}${version}, confidence ${share(answer.confidence)}, ${answer.prompt_tokens} prompt tokens`),
    ...await sources(answer.sources),
  ];
}

async function sources(ids) {
  if (!ids.length) return [];
  const { items } = await get("/v1/memory/interactions", { id: ids.slice(0, 20) });
  return [make("details", {}, make("summary", {}, `Sources (${ids.length})`),
    make("ul", {}, items.map((item) => make("li", { class: "text" }, revealed(item.text)))))];
}
