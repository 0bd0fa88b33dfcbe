// What enters: a section and what became of its questions. What leaves: the section, or a sentence that says which key
// it needs, with a button. This module does not know what the section shows.
import { button, element } from "./dom.js";
import { problemNodes } from "./problem.js";
import { inWords, t } from "../language/words.js";
import { askForKey } from "../service/api.js";

const LOCKS = { 401: "needs_key", 403: "needs_more" };

export const isLocked = (problem) => problem.status in LOCKS;

/** What a part of a view says of a refusal, with the button if another key may help; `needsKey` is its word without one. */
export function lockNodes(problem, needsKey) {
  if (!isLocked(problem)) return problemNodes(problem);
  return [t(problem.status === 401 ? needsKey : LOCKS[problem.status]), " ", button(t("give_key"), askForKey)];
}

export class Lock {
  constructor(section) {
    Object.assign(this, { section, word: null, questions: 0, newestAnswer: 0 });
    this.notice = element("div", { className: "locked", hidden: true, role: "status" });
    section.querySelector("h1").after(this.notice);
    inWords(() => this.#show());
  }

  get isClosed() {
    return this.word !== null;
  }

  /** Ask, and hide the section's content if the answer is that it needs another key. */
  async around(question) {
    const number = ++this.questions;
    try {
      const answer = await question();
      this.newestAnswer = Math.max(number, this.newestAnswer);
      this.#become(null);
      return answer;
    } catch (problem) {
      // A question from before the reader gave a key may be refused after a later one was answered.
      if (isLocked(problem) && number > this.newestAnswer) this.#become(LOCKS[problem.status]);
      throw problem;
    }
  }

  #become(word) {
    if (word === this.word) return;
    this.word = word;
    this.#show();
  }

  #show() {
    const { notice, section, word } = this;
    section.classList.toggle("is-locked", word !== null);
    notice.hidden = word === null;
    if (word) notice.replaceChildren(element("p", {}, t(word)), button(t("give_key"), askForKey, { className: "main" }));
  }
}
