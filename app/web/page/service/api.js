// What enters: a path and what to send. What leaves: the answer, or a Problem that can be shown. This
// module alone knows the key, and keeps it in memory. It does not know what is asked.
import { t } from "../language/words.js";

// The service may be below a path prefix. This file is BASE/web/DIGEST/page/service/api.js.
const BASE = new URL("../../../../", import.meta.url);

let key = null;
let asking = null;
const unlocked = [];

/** A refusal of the service: RFC 9457 problem details. */
export class Problem extends Error {
  constructor(status, details) {
    super(details.detail ?? details.title ?? String(status));
    Object.assign(this, { status, code: details.code ?? "other", errors: details.errors ?? [] });
  }

  get words() {
    const name = `problem_${this.code}`;
    const detail = { detail: this.message };
    const translated = t(name, detail);
    const said = translated === name ? t("problem_other", detail) : translated;
    const fields = this.errors.map(({ field, message }) => `${field}: ${message}`);
    return [said, ...fields].join(" ");
  }
}

/** Let a refusal pass that the reader did not ask for: the footer and the notices of locks say what is missing. */
export function ignoreProblem(problem) {
  if (!(problem instanceof Problem)) throw problem;
}

/** Ask, as `fetch` does. Quiet questions are those that nobody chose to ask: no dialog for them. */
export async function ask(path, options = {}) {
  const { quiet = false, ...request } = options;
  const response = await send(path, request);
  if (response.ok) return response;
  const problem = new Problem(response.status, await response.json().catch(() => ({})));
  if (problem.status !== 401) throw problem;
  document.getElementById("give-key").hidden = false;
  if (quiet || !(await askForKey())) throw problem;
  return ask(path, options);
}

export async function askJson(path, options) {
  const response = await ask(path, options);
  return response.json().catch(unreachable); // the connection may break within the body
}

export function post(path, body, options = {}) {
  const headers = { "Content-Type": "application/json", ...options.headers };
  const request = { method: "POST", ...options, headers };
  return askJson(path, body === undefined ? request : { ...request, body: JSON.stringify(body) });
}

async function send(path, request, by = key) {
  const headers = new Headers(request.headers);
  if (by) headers.set("Authorization", `Bearer ${by}`);
  try {
    return await fetch(new URL(path, BASE), { cache: "no-store", ...request, headers });
  } catch (error) {
    return unreachable(error);
  }
}

/** Raise a Problem for an error of the connection. */
function unreachable(error) {
  if (error.name === "AbortError") throw error;
  throw new Problem(0, { code: "unreachable", detail: error.message });
}

/** Whether the page sends the key with this id, which is the part between two underscores. */
export const usesKey = (id) => key?.split("_")[1] === id;

/** Call when a key was given. */
export const onKey = (listener) => unlocked.push(listener);

/** Ask for a key once, however many questions wait for it; false if there is none. */
export function askForKey() {
  asking ??= new Promise((resolve) => {
    const dialog = document.getElementById("key-dialog");
    const field = document.getElementById("key");
    const said = document.getElementById("key-said");
    const close = () => dialog.close();
    let isClosed = false;
    const take = async (event) => {
      event.preventDefault();
      const given = field.value.trim();
      if (!given) return;
      const refusal = await refusalOf(given);
      if (isClosed) return; // the reader has given up
      said.textContent = refusal;
      field.ariaInvalid = String(said.textContent !== "");
      if (said.textContent) return field.select();
      key = given;
      close();
    };
    const form = document.getElementById("key-form");
    const cancel = document.getElementById("key-cancel");
    const before = key;
    form.addEventListener("submit", take);
    cancel.addEventListener("click", close);
    dialog.addEventListener(
      "close",
      () => {
        isClosed = true;
        form.removeEventListener("submit", take);
        cancel.removeEventListener("click", close);
        field.value = said.textContent = "";
        field.ariaInvalid = "false";
        asking = null;
        const given = key !== before;
        resolve(given);
        if (given) unlocked.forEach((listener) => listener());
      },
      { once: true },
    );
    dialog.showModal();
  });
  return asking;
}

/** Return why the service refuses a key, or nothing. A key of a narrow scope is a good key. */
async function refusalOf(given) {
  try {
    const { status } = await send("models", {}, given);
    return status === 401 ? t("wrong_key") : "";
  } catch (problem) {
    return problem.words;
  }
}
