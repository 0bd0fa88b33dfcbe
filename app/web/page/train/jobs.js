// What enters: what the service says of jobs and sweeps, and which of them are chosen. What leaves: their list, and the
// losses of the first chosen one as they come. This module does not know how a job looks.
import { ask, askJson, post } from "../service/api.js";
import { follow } from "../service/stream.js";

export const UNFINISHED = ["running", "queued", "paused"];
const RECENT = 10; // jobs that are asked for again and again
const PAGE = 50;
const QUIET = { quiet: true };
/** Begins the address of a sweep, which stands where those of jobs do. */
export const SWEEP = "sweep-";

export class Jobs {
  /** `changed()` at each change; `ended(job)` when a version may have come of it. */
  constructor({ changed, ended }) {
    Object.assign(this, { changed, ended, all: new Map(), removed: new Map() });
    this.paged = new Set(); // the jobs of the pages of the list: others were asked for by name
    Object.assign(this, { sweeps: [], chosen: [], isNamed: false });
    // How often jobs were chosen, and how often the service has started, stopped or resumed one for the reader.
    Object.assign(this, { choices: 0, acts: 0 });
    Object.assign(this, { losses: [], isBroken: false, isSending: false, hasMore: false, missing: null });
    this.followed = this.following = null;
  }

  /** The jobs, newest first. */
  get list() {
    return [...this.all.values()].sort((a, b) => b.created_at.localeCompare(a.created_at));
  }

  /** The first of the chosen jobs, or null. */
  get first() {
    return this.all.get(this.chosen[0]) ?? null;
  }

  /** The job that is trained now, or else the one that waits longest; null if there is none. */
  get active() {
    const list = this.list.toReversed();
    return UNFINISHED.map((state) => list.find(({ status }) => status === state)).find(Boolean) ?? null;
  }

  /** Choose jobs by id; with none, the active job or the newest is shown. */
  async choose(ids) {
    this.choices++;
    Object.assign(this, { chosen: ids, isNamed: ids.length > 0, missing: null });
    const unknown = ids.filter((id) => !id.startsWith(SWEEP) && !this.all.has(id));
    for (const id of unknown) await this.#find(id);
    this.#followFirst();
  }

  /** Ask for the newest jobs; somebody else may have begun something. */
  async look() {
    await this.#load(RECENT);
  }

  /** Ask for the newest jobs after the reader has cancelled or deleted a sweep. */
  async lookAfterAct() {
    this.acts++;
    await this.look();
  }

  /** Ask for a long page of jobs, from which removed ones are gone, and choose some, if no others are chosen meanwhile. */
  async lookAtAll(ids) {
    const choice = ++this.choices;
    await this.#load(PAGE);
    if (choice === this.choices) await this.choose(ids);
  }

  async lookAtOlder() {
    const last = this.list.findLast(({ id }) => this.paged.has(id));
    this.#storePage(await askJson(`train?limit=${PAGE}${last ? `&after=${last.id}` : ""}`));
    this.changed();
  }

  /** Start a job, and return it. */
  async start(hyperparameters) {
    this.isSending = true;
    this.changed();
    try {
      const job = await post("train", hyperparameters);
      this.acts++;
      this.#store(job);
      return job;
    } finally {
      this.isSending = false;
      this.changed();
    }
  }

  /** Cancel, pause or resume a job. */
  async act(id, action) {
    const job = await post(`train/${id}/${action}`);
    this.acts++;
    this.#store(job);
    this.#followFirst();
  }

  /** Remove a job at once, and store it again if the service refuses. */
  async remove(id) {
    const job = this.all.get(id);
    this.all.delete(id);
    const removal = ask(`train/${id}`, { method: "DELETE" });
    this.removed.set(id, removal);
    try {
      await Promise.all([this.choose(this.chosen.filter((each) => each !== id)), removal]);
    } catch (problem) {
      this.removed.delete(id);
      this.#store(job);
      this.changed();
      throw problem;
    }
  }

  async #load(limit) {
    const { acts } = this;
    const questions = [`train?limit=${limit}`, "sweeps?limit=20"];
    const [jobs, sweeps] = await Promise.all(questions.map((path) => askJson(path, QUIET)));
    if (acts !== this.acts) return this.#load(limit); // it may be older than the answer to an act
    if (limit === PAGE) {
      const isThere = ([id]) => jobs.data.some((job) => job.id === id);
      this.all = new Map([...this.all].filter(isThere));
      this.paged.clear();
      this.#storePage(jobs);
    } else jobs.data.forEach((job) => this.#store(job));
    this.sweeps = sweeps.data;
    this.#followFirst();
  }

  #storePage({ data, has_more }) {
    for (const job of data) {
      this.paged.add(job.id);
      this.#store(job);
    }
    this.hasMore = has_more;
  }

  async #find(id) {
    await this.removed.get(id)?.catch(() => null); // until then, the service may still answer with it
    try {
      this.#store(await askJson(`train/${id}`, QUIET));
    } catch (problem) {
      if (problem.status !== 404) throw problem;
      if (this.chosen.includes(id)) this.missing = problem;
    }
  }

  /** Store what the service says. Events may be ahead of it: an ended job stays so, a removed one stays away. */
  #store(job) {
    if (this.removed.has(job.id)) return;
    const { epochs, status } = this.all.get(job.id) ?? { epochs: [], status: job.status };
    if (UNFINISHED.includes(job.status) && !UNFINISHED.includes(status)) return;
    this.all.set(job.id, { ...job, epochs: epochs.length > job.epochs.length ? epochs : job.epochs });
  }

  #followFirst() {
    if (!this.isNamed) this.#chooseItself();
    const [id] = this.chosen;
    if (id !== this.followed) {
      this.following?.abort();
      Object.assign(this, { followed: id, losses: [], isBroken: false });
      if (this.all.has(id)) this.#follow(id).catch((problem) => this.#lost(id, problem));
      else this.followed = null;
    }
    this.changed();
  }

  #chooseItself() {
    const { active, list } = this;
    const isOver = !UNFINISHED.includes(this.first?.status);
    if (active?.status === "running" || (active && isOver) || !this.first) {
      this.chosen = [active ?? list[0]].filter(Boolean).map(({ id }) => id);
    }
  }

  async #follow(id) {
    const { signal } = (this.following = new AbortController());
    const wasUnfinished = UNFINISHED.includes(this.all.get(id).status);
    const broke = (isBroken) => {
      if (isBroken === this.isBroken || signal.aborted) return;
      this.isBroken = isBroken;
      this.changed();
    };
    for await (const { event, data } of follow(`train/${id}/events`, signal, broke)) {
      if (signal.aborted || !this.all.has(id)) return;
      this.#happened(this.all.get(id), event, data);
    }
    if (signal.aborted || !this.all.has(id)) return;
    this.#store(await askJson(`train/${id}`, { ...QUIET, signal }));
    this.changed();
    if (wasUnfinished) this.ended(this.all.get(id));
  }

  /** The next look at the list follows it again. */
  #lost(id, problem) {
    if (problem.name === "AbortError") return;
    if (problem.status === undefined) throw problem;
    if (this.followed === id) this.followed = null;
  }

  #happened(job, event, data) {
    if (event === "batch") this.losses.push(data);
    // The events begin with the oldest: the epochs after it are there already.
    if (event === "epoch") job.epochs = job.epochs.toSpliced(data.epoch, 1, data);
    if (event === "result") job.result = data;
    // Old events are sent again: what was asked for last knows the present.
    const isOver = !UNFINISHED.includes(job.status);
    if (event === "status" && !isOver) job.status = data.status;
    if (event === "status") job.phase = data.status === "running" ? { name: "starting" } : null;
    if (event === "phase") job.phase = data;
    if (event === "batch" && job.progress) advance(job, data);
    this.changed();
  }
}

function advance({ progress, hyperparameters }, { epoch, batch }) {
  const { batches } = progress;
  const fraction = (epoch * batches + batch) / (batches * hyperparameters.epochs);
  if (fraction > progress.fraction) Object.assign(progress, { epoch, batch, fraction });
}
