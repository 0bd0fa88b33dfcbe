// What enters: a job. What leaves: its network after any of its epochs, as pictures of weights, and what it reads on the
// paper, with a slider over the epochs. This module does not know how the job goes on.
import { byId } from "../../elements/dom.js";
import { inWords, percent, t } from "../../language/words.js";
import { ask, askJson } from "../../service/api.js";
import { UNFINISHED } from "../jobs.js";
import { Network } from "./network.js";
import { Opinion } from "./opinion.js";
import { Tiles } from "./tiles.js";

const KEPT = 40; // networks in memory, 1.4 MB each
const FRAME = 350; // milliseconds of an epoch, played

export class Epochs {
  /** `pointed(epoch)` when the reader chooses an epoch, counted from 1. */
  constructor(drawing, pointed) {
    Object.assign(this, { pointed, job: null, epochs: [], isLast: true, wanted: null, isBusy: false, timer: null });
    Object.assign(this, { networks: new Map(), questions: new AbortController(), looks: 0 });
    this.tiles = new Tiles(byId("tiles"));
    this.opinion = new Opinion(drawing);
    this.slider = byId("epoch");
    this.slider.addEventListener("input", () => this.#slide());
    byId("play").addEventListener("click", () => this.#play());
    inWords(() => this.#say());
  }

  /** Show a job, or go on with it. Null shows nothing. */
  async show(job) {
    const isOther = job?.id !== this.job?.id;
    const isNew = isOther || job?.epochs.length !== this.job?.epochs.length || job?.status !== this.job?.status;
    this.job = job && { ...job };
    if (!isNew) return;
    if (isOther) this.#forget();
    if (job) await this.#find(job);
  }

  /** The drawing may be another one, or the theme. */
  refresh() {
    this.tiles.paint();
    this.opinion.refresh();
  }

  #forget() {
    clearInterval(this.timer);
    this.questions.abort();
    Object.assign(this, { epochs: [], isLast: true, wanted: null, timer: null, questions: new AbortController() });
    this.tiles.show(null);
    this.opinion.show(null);
    this.#say();
  }

  /** Find which epochs have weights; a job without them has those of its version. */
  async #find(job) {
    const isKept = job.hyperparameters.keep_checkpoints && job.epochs.length;
    const { signal } = this.questions;
    const look = ++this.looks;
    const { data } = isKept ? await askJson(`train/${job.id}/checkpoints`, { quiet: true, signal }) : { data: [] };
    if (signal.aborted || look !== this.looks) return;
    const { version } = job.result ?? {};
    const ofVersion = version ? [{ path: `models/${version}/weights`, version }] : [];
    const path = (epoch) => `train/${job.id}/checkpoints/${epoch}`;
    const ofEpoch = ({ epoch, test_accuracy }) => ({ path: path(epoch), epoch: epoch + 1, test_accuracy });
    this.epochs = data.length ? data.map(ofEpoch) : ofVersion;
    this.slider.max = Math.max(0, this.epochs.length - 1);
    if (this.isLast) this.slider.value = this.slider.max;
    this.#say();
    await this.#look();
  }

  #slide() {
    this.isLast = this.slider.value === this.slider.max;
    this.pointed(this.#at?.epoch ?? null);
    this.#say();
    this.#look();
  }

  #play() {
    const isPlaying = this.timer !== null;
    clearInterval(this.timer);
    this.timer = isPlaying ? null : setInterval(() => this.#step(), FRAME);
    if (!isPlaying && this.isLast) this.slider.value = 0;
    if (!isPlaying) this.#slide();
    this.#say();
  }

  #step() {
    this.slider.stepUp();
    this.#slide();
    if (this.isLast) this.#play();
  }

  get #at() {
    return this.epochs[Number(this.slider.value)];
  }

  /** Fetch the network of the epoch that is wanted last; those in between are left out. */
  async #look() {
    this.wanted = this.#at?.path ?? null;
    if (this.isBusy) return;
    this.isBusy = true;
    try {
      for (let path = null; path !== this.wanted && this.wanted; ) {
        path = this.wanted;
        // The oldest checkpoints make room for others.
        const network = await this.#network(path).catch(() => null);
        if (path === this.wanted) this.#paint(network);
      }
    } finally {
      this.isBusy = false;
    }
  }

  #paint(network) {
    this.tiles.show(network?.first ?? null);
    this.opinion.show(network);
    this.#say();
  }

  async #network(path) {
    const { signal } = this.questions;
    const found = this.networks.get(path) ?? new Network(await (await ask(path, { quiet: true, signal })).arrayBuffer());
    this.networks.delete(path);
    this.networks.set(path, found);
    if (this.networks.size > KEPT) this.networks.delete(this.networks.keys().next().value);
    return found;
  }

  #say() {
    const { epochs, job, slider, timer } = this;
    const at = this.#at;
    byId("weights").hidden = !job;
    byId("tiles").parentElement.hidden = !at && !UNFINISHED.includes(job?.status); // nothing is to come
    byId("scrub").hidden = epochs.length < 2;
    byId("play").textContent = timer === null ? "▶" : "❚❚";
    byId("play").setAttribute("aria-label", t(timer === null ? "play" : "stop"));
    const words = at?.epoch ? { epoch: at.epoch, accuracy: percent(at.test_accuracy, 1) } : { version: at?.version };
    const name = at?.epoch ? "at_epoch" : "at_version";
    byId("at").textContent = at ? t(name, words) : t(job?.hyperparameters.keep_checkpoints ? "no_epoch_yet" : "no_weights");
    slider.setAttribute("aria-valuetext", byId("at").textContent);
    byId("tiles").setAttribute("aria-label", at ? t("tiles_of", { of: byId("at").textContent }) : t("no_epoch_yet"));
  }
}
