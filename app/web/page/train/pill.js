// What enters: the job that is trained now. What leaves: how far it is, in the header of every view and in the title of
// the tab. This module does not know which job is looked at.
import { byId } from "../elements/dom.js";
import { inWords, percent, t } from "../language/words.js";
import { fractionOf, stateOf } from "./words.js";

export class Pill {
  constructor(jobs) {
    this.jobs = jobs;
    inWords(() => this.show());
  }

  show() {
    const { active } = this.jobs;
    document.title = active ? `${this.#short(active)} · MyNet` : "MyNet";
    showPill(active);
  }

  #short(job) {
    const isTraining = job.status === "running" && job.phase?.name === "training" && job.progress;
    return isTraining ? percent(job.progress.fraction, 0) : t(job.status);
  }
}

/** Show how far a job is, or nothing; `page` is the address of the page with the views, if it is another one. */
export function showPill(job, page = "") {
  const pill = byId("pill");
  pill.hidden = job === null;
  if (!job) return;
  pill.href = `${page}#/train/${job.id}`;
  pill.textContent = stateOf(job);
  pill.style.setProperty("--done", job.status === "running" ? (fractionOf(job) ?? 0) : 0);
}
