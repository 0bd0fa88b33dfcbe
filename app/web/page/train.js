// What enters: wishes, and what the service tells of jobs. What leaves: the job that is shown, as it goes
// on, in every tab the same. This module does not know how a job looks.
import { askJson, post } from "./api.js";
import { follow } from "./stream.js";

const UNFINISHED = ["running", "queued", "paused"];

export class Training {
  /** `show(job, losses)` at each change; `ended(job)` when a version may have come of it. */
  constructor({ show, ended, interrupted }) {
    Object.assign(this, { show, ended, interrupted, job: null, losses: [], following: null });
  }

  get isOver() {
    return this.job !== null && !UNFINISHED.includes(this.job.status);
  }

  /** See what the service does; somebody else may have begun something. */
  async look() {
    const { data } = await askJson("/train?limit=10", { quiet: true });
    const same = data.find(({ id }) => id === this.job?.id);
    if (same) this.#renew(same);
    const running = data.find(({ status }) => status === "running");
    const waits = this.job === null || this.job.status !== "running";
    if (running && waits && running.id !== this.job?.id) this.#follow(running);
    else if (this.job === null && data.length) this.#follow(first(data));
  }

  async start(wishes) {
    this.#follow(await post("/train", wishes));
  }

  async cancel() {
    this.#renew(await post(`/train/${this.job.id}/cancel`));
  }

  async pauseOrResume() {
    const wish = this.job.status === "paused" ? "resume" : "pause";
    this.#renew(await post(`/train/${this.job.id}/${wish}`));
  }

  async #follow(job) {
    this.following?.abort();
    const following = (this.following = new AbortController());
    Object.assign(this, { job, losses: [] });
    this.show(job, this.losses);
    const wasOver = this.isOver;
    const path = `/train/${job.id}/events`;
    for await (const { event, data } of follow(path, following.signal, this.interrupted)) {
      if (following.signal.aborted) return;
      this.#happened(event, data);
    }
    if (following.signal.aborted) return;
    this.#renew(await askJson(`/train/${job.id}`, { quiet: true }));
    if (!wasOver) this.ended(this.job);
  }

  #happened(event, data) {
    const { job } = this;
    if (event === "batch") this.losses.push(data);
    if (event === "epoch") job.epochs = [...job.epochs.slice(0, data.epoch), data];
    if (event === "result") job.result = data;
    // Old ones are told again: what was asked for last knows the present.
    if (event === "status" && !this.isOver) job.status = data.status;
    if (event === "batch" && job.progress) {
      const batches = job.progress.batches;
      const fraction = (data.epoch * batches + data.batch) / (batches * job.hyperparameters.epochs);
      if (fraction > job.progress.fraction) Object.assign(job.progress, data, { fraction });
    }
    this.show(job, this.losses);
  }

  #renew(job) {
    const epochs = job.epochs.length < this.job.epochs.length ? this.job.epochs : job.epochs;
    this.job = { ...job, epochs };
    this.show(this.job, this.losses);
  }
}

function first(jobs) {
  for (const wanted of UNFINISHED) {
    const found = jobs.find(({ status }) => status === wanted);
    if (found) return found;
  }
  return jobs[0];
}
