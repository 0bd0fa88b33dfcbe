// The service's answers to what is on the paper, newest last: while ink flows, and when the pen is lifted.
import { askJson } from "../service/api.js";

const EVERY = 60; // milliseconds between two questions, at least
const PAUSE = 30; // milliseconds after a change: the pen may be lifted by then, and that question comes first

export function read(image, query = "", options = {}) {
  const headers = { "Content-Type": image.type || "application/octet-stream" };
  return askJson(`predict${query}`, { method: "POST", body: image, headers, ...options });
}

export class Reader {
  /**
   * `answered(prediction, final)`, and, once the last answer is on the screen, `settled(prediction, image)`;
   * `refused(problem)`, `explained(prediction, final)`
   */
  constructor(paper, { answered, settled, refused, explained }) {
    Object.assign(this, { paper, answered, settled, refused, explained });
    Object.assign(this, { question: null, isBehind: false, last: -EVERY, timer: null });
  }

  /** The paper changed; `final` where the pen is up. */
  changed(final) {
    if (this.paper.isBlank) this.forget();
    else if (final) this.#finish();
    else this.timer ??= setTimeout(() => this.#askLive(), Math.max(PAUSE, this.last + EVERY - performance.now()));
  }

  /** What was asked need not be answered any more. */
  forget() {
    clearTimeout(this.timer);
    this.question?.controller.abort();
    Object.assign(this, { question: null, isBehind: false, timer: null });
  }

  #finish() {
    const { question } = this;
    if (question?.changes !== this.paper.changes) {
      this.forget();
      this.#ask(true);
      return;
    }
    if (question.isFinal) return; // the key for the pen may be released after its stroke has ended
    // The pen rested before it was lifted: its answer is on its way, or here.
    question.isFinal = true;
    if (question.prediction) this.#show(question);
  }

  #askLive() {
    clearTimeout(this.timer); // an answer may have led here, with the next change's timer under way
    this.timer = null;
    if (this.paper.isSpeck) return;
    // One at a time: a slow service is asked less often, and has the less to do when the pen is lifted.
    this.isBehind = this.question !== null && !this.question.prediction;
    if (!this.isBehind) this.#ask(false);
  }

  async #ask(isFinal) {
    const image = this.paper.image();
    const controller = new AbortController();
    const question = { image, controller, isFinal, changes: this.paper.changes, prediction: null };
    Object.assign(this, { question, last: performance.now() });
    try {
      // The last answer comes first, and then its explanation; live ones come with theirs.
      const query = isFinal ? "" : "?explain=true";
      question.prediction = await read(image, query, { quiet: !isFinal, signal: controller.signal });
      if (question === this.question) await this.#show(question);
    } catch (problem) {
      if (question !== this.question) return;
      this.question = null;
      if (isFinal) this.refused(problem);
      else if (question.isFinal) this.#ask(true); // not quietly
    }
    if (this.isBehind) this.#askLive();
  }

  async #show(question) {
    const { prediction, isFinal, image } = question;
    this.answered(prediction, isFinal);
    if (isFinal) await painted();
    if (question !== this.question) return;
    if (isFinal) this.settled(prediction, image);
    const explained = prediction.activations ? prediction : await read(image, "?explain=true");
    if (question === this.question) this.explained(explained, isFinal);
  }
}

/** Wait until the browser has painted. */
const painted = () => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
