// Confirmation dialogs (native <dialog>): preview, confirm or cancel, result.
// Not here: their contents (actions.js).

import { Refused } from "./api.js";
import { button, make, newId } from "./dom.js";

/**
 * Ask for confirmation, run `work`, show its result. `content`: the preview's nodes, or a promise of them. `work`
 * returns the result's nodes (the dialog stays open to show them) or nothing. Resolves to whether `work` was done.
 */
export function ask({ title, content, label, busy, work, danger = false, first = null }) {
  const titleId = newId("title");
  const body = make("div", { class: "dialog-body", "aria-live": "polite" }, make("p", {}, "One moment …"));
  const problem = make("p", { role: "alert", class: "problem" });
  const state = { done: false, running: false };
  const leave = button("Cancel", () => dialog.close(), { class: "quiet" });
  const go = button(label, run, { class: danger ? "danger" : "primary", disabled: true });
  const dialog = make("dialog", { "aria-labelledby": titleId },
    make("h2", { id: titleId, tabindex: "-1" }, title), body, problem, make("div", { class: "actions" }, leave, go));

  async function run() {
    Object.assign(state, { running: true });
    problem.textContent = "";
    go.disabled = leave.disabled = true;
    go.textContent = busy;
    try {
      const result = await work();
      state.done = true;
      if (!result) return dialog.close();
      body.replaceChildren(...result);
      go.remove();
      leave.textContent = "Close";
    } catch (error) {
      problem.textContent = sentence(error);
      go.textContent = label;
      go.disabled = false;
    } finally {
      state.running = false;
      leave.disabled = false;
      if (dialog.open) leave.focus();
    }
    return undefined;
  }

  dialog.addEventListener("cancel", (event) => { if (state.running) event.preventDefault(); });
  document.body.append(dialog);
  dialog.showModal();
  leave.focus();
  fill(content, body, problem).then((filled) => {
    go.disabled = !filled;
    if (filled && first) first.focus();
  });
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => { dialog.remove(); resolve(state.done); });
  });
}

async function fill(content, body, problem) {
  try {
    body.replaceChildren(...await content);
    return true;
  } catch (error) {
    body.replaceChildren();
    problem.textContent = sentence(error);
    return false;
  }
}

/** The message of a refused request; rethrows any other error, which is a bug of this page. */
export function sentence(error) {
  if (error instanceof Refused) return error.message;
  throw error;
}
