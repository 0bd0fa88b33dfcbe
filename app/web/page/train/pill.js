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
    const pill = byId("pill");
    pill.hidden = active === null;
    document.title = active ? `${this.#short(active)} · MyNet` : "MyNet";
    if (!active) return;
    pill.href = `#/train/${active.id}`;
    pill.textContent = stateOf(active);
    pill.style.setProperty("--done", active.status === "running" ? (fractionOf(active) ?? 0) : 0);
  }

  #short(job) {
    const isTraining = job.status === "running" && job.phase?.name === "training" && job.progress;
    return isTraining ? percent(job.progress.fraction, 0) : t(job.status);
  }
}
