// What enters: an image that was read, and what it shows in truth. What leaves: a correction for the
// service to keep. This module does not know what is learned from it.
import { ask } from "./api.js";
import { button, byId } from "./dom.js";
import { inWords, t } from "./words.js";

export class Feedback {
  constructor() {
    this.read = this.said = null;
    this.fields = byId("wrong");
    this.thanks = byId("thanks");
    const labels = Array.from({ length: 10 }, (_, label) => button(label, () => this.#send(label)));
    byId("labels").replaceChildren(...labels);
    inWords(() => this.#show());
  }

  /** What the buttons are about from now on: an image and the id of its prediction, or null. */
  about(read) {
    Object.assign(this, { read, said: null });
    this.fields.disabled = read === null;
    this.#show();
  }

  async #send(label, query = "") {
    const { read } = this;
    const form = new FormData();
    form.append("file", read.image, "digit");
    form.append("label", label);
    form.append("prediction_id", read.id);
    try {
      const response = await ask(`/feedback${query}`, { method: "POST", body: form });
      this.said = response.status === 200 && !query ? ["known", { label }] : ["thanks", { label }];
    } catch (problem) {
      this.said = problem.status === 409 ? ["other_label", {}, label] : [null, problem];
    }
    if (this.read === read) this.#show();
  }

  #show() {
    const [word, values, label] = this.said ?? [];
    this.thanks.textContent = word ? t(word, values) : (values?.words ?? "");
    if (label === undefined) return;
    const replace = button(t("replace", { label }), () => this.#send(label, "?replace=true"));
    this.thanks.append(" ", replace);
  }
}
