// Corrections: what an image shows in truth, sent to the service, changed, or taken back.
import { ask } from "../service/api.js";
import { brief, formOf, LABELS, phrase } from "../corrections/label.js";
import { button, byId, unlessBusy } from "../elements/dom.js";
import { problemNodes } from "../elements/problem.js";
import { inWords, t } from "../language/words.js";

export class Feedback {
  constructor() {
    Object.assign(this, { read: null, saved: null, said: null });
    const choose = (label) => this.act(() => this.#choose(label));
    this.labels = LABELS.map((label) => button("", () => choose(label), { "aria-pressed": false }));
    byId("labels").replaceChildren(...this.labels);
    inWords(() => this.#show());
  }

  /** What the buttons are about from now on: an image and the id of its prediction, or null. */
  about(read) {
    Object.assign(this, { read, saved: null, said: null });
    this.act = unlessBusy((act) => act()); // two labels at once would contradict one another
    byId("wrong").disabled = read === null;
    this.#show();
  }

  /** A label that this page saved is changed at once; one of before only if the reader says so. */
  #choose(label) {
    if (this.saved?.label === label) return;
    return this.#send(label, this.saved !== null);
  }

  async #send(label, replaces) {
    const { read, saved } = this;
    const form = formOf(read.image, label);
    form.append("prediction_id", read.id);
    try {
      const response = await ask(`feedback${replaces ? "?replace=true" : ""}`, { method: "POST", body: form });
      const { id } = await response.json();
      const word = response.status === 201 ? "thanks" : saved || replaces ? "changed" : "already";
      this.#become(read, { saved: { id, label }, said: { word, label, undo: saved?.label } });
    } catch (problem) {
      if (problem.status !== 409) this.#become(read, { said: { problem } });
      else this.#become(read, { said: { word: "other_label", label, canReplace: true, problem } });
    }
  }

  /** Delete what was saved, or give it the label that it had before. */
  async #undo(label) {
    const { read, saved } = this;
    if (label !== undefined) return this.#send(label, true);
    try {
      await ask(`feedback/${saved.id}`, { method: "DELETE" });
      this.#become(read, { saved: null, said: { word: "undone" } });
    } catch (problem) {
      this.#become(read, { said: { problem } });
    }
  }

  #become(read, state) {
    if (this.read !== read) return; // another drawing is on the paper by now
    Object.assign(this, state);
    this.#show();
  }

  #show() {
    const { said, saved } = this;
    const { word, label, undo, canReplace, problem } = said ?? {};
    const values = { label: label === undefined ? "" : phrase(label) };
    const words = word === "thanks" && label === null ? "thanks_no_digit" : word;
    const sentence = word ? t(words, values) : (problem?.words ?? "");
    // The words of the service name the label that was saved before.
    byId("thanks").replaceChildren(...problemNodes({ words: sentence, message: problem?.message }));
    this.labels.forEach((each, i) => {
      each.textContent = brief(LABELS[i]);
      each.setAttribute("aria-pressed", saved?.label === LABELS[i]);
    });
    const replace = () => this.act(() => this.#send(label, true));
    if (canReplace) byId("thanks").append(" ", button(t("replace", values), replace));
    else if (saved) byId("thanks").append(" ", button(t("undo"), () => this.act(() => this.#undo(undo))));
  }
}
