// API client: key and namespace headers, errors, a job's server-sent events.
// The key stays in this tab (sessionStorage) and never in a URL. Not here: anything shown.

const KEY = "seal-memory-key";
const NAMESPACE = "seal-memory-namespace";
const ROOT = new URL("..", import.meta.url); // this file is ROOT/page/api.js, also behind a proxy

/** The address of a path of the API ("/v1/…"), wherever the server is. */
export const address = (path) => new URL(path.slice(1), ROOT);

/** A failed request: the server's message, the HTTP status (0: no response), the error code. */
export class Refused extends Error {
  constructor(message, status, code) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export const key = {
  get: () => sessionStorage.getItem(KEY),
  set: (secret) => sessionStorage.setItem(KEY, secret),
  drop: () => { sessionStorage.removeItem(KEY); sessionStorage.removeItem(NAMESPACE); },
};

export const namespace = {
  get: () => sessionStorage.getItem(NAMESPACE),
  set: (name) => sessionStorage.setItem(NAMESPACE, name),
  drop: () => sessionStorage.removeItem(NAMESPACE),
};

export const get = (path, query = {}, signal = undefined) => call("GET", path, { query, signal });
export const post = (path, body) => call("POST", path, { body });

async function call(method, path, { query = {}, body, signal }) {
  const answer = await send(method, path, { query, body, signal });
  return answer.json();
}

async function send(method, path, { query = {}, body, signal }) {
  const to = address(path);
  for (const [name, value] of Object.entries(query)) {
    for (const one of [value].flat()) {
      if (one !== null && one !== undefined && one !== "") to.searchParams.append(name, one);
    }
  }
  const options = { method, headers: headers(body), signal, cache: "no-store", credentials: "omit" };
  if (body !== undefined) options.body = JSON.stringify(body);
  let answer;
  try {
    answer = await fetch(to, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("The server does not answer. Is it still running?", 0, "unreachable");
  }
  if (!answer.ok) throw await refusal(answer);
  return answer;
}

function headers(body) {
  const found = new Headers();
  if (key.get()) found.set("Authorization", `Bearer ${key.get()}`);
  // Headers carry Latin-1 only: send the name's UTF-8 bytes.
  if (namespace.get()) found.set("X-Seal-Memory-Namespace", bytesAsLatin1(namespace.get()));
  if (body !== undefined) found.set("Content-Type", "application/json");
  return found;
}

const bytesAsLatin1 = (text) => String.fromCharCode(...new TextEncoder().encode(text));

async function refusal(answer) {
  let found = null;
  try {
    found = (await answer.json()).error;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  return new Refused(found?.message ?? `The server answered with ${answer.status}.`, answer.status, found?.code ?? "");
}

/** Follow a job: call `on(name, data)` for each event until its end, or until `signal` aborts.
 *  Uses fetch, because EventSource cannot send headers. */
export async function follow(jobId, on, signal) {
  const answer = await send("GET", `/v1/memory/jobs/${encodeURIComponent(jobId)}/events`, { signal });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const pieces = (rest + value).split("\n\n");
    rest = pieces.pop();
    for (const piece of pieces) dispatch(piece, on);
  }
}

function dispatch(piece, on) {
  const found = { event: "message", data: "" };
  for (const line of piece.split("\n")) {
    const at = line.indexOf(": ");
    if (at > 0) found[line.slice(0, at)] = line.slice(at + 2);
  }
  if (found.data) on(found.event, JSON.parse(found.data));
}
