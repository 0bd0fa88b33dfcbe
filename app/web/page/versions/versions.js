// What enters: the list of versions. What leaves: a table of them, each beside the live one in words, and the wish to make
// one live, to upload or to delete one. This module does not know what else is shown of a version.
import { isConfirmed } from "../elements/confirm.js";
import { button, byId, element, fill, unlessBusy } from "../elements/dom.js";
import { problemNodes } from "../elements/problem.js";
import { day, inWords, number, percent, t } from "../language/words.js";
import { go } from "../router.js";
import { ask, askJson, post } from "../service/api.js";

export class Versions {
  /** `chosen(version, other)` when one is looked at; `listed(cards, current)` when the list is new. */
  constructor({ chosen, listed }) {
    Object.assign(this, { chosen, listed, cards: [], current: null, previous: null, version: null, other: null });
    Object.assign(this, { asked: [null, null], said: null, refusal: null, looks: 0 });
    this.promote = unlessBusy((version) => this.#promote(version));
    byId("rollback").addEventListener("click", () => this.rollBack());
    byId("upload-version").addEventListener("click", () => byId("weights-file").click());
    byId("weights-file").addEventListener("change", (event) => {
      const [file] = event.target.files;
      if (file) this.#change(() => this.#upload(file));
      event.target.value = "";
    });
    inWords(() => {
      this.#show();
      this.#say();
    });
  }

  get live() {
    return this.#card(this.current);
  }

  async refresh() {
    const look = ++this.looks;
    const { data, current, previous } = await askJson("models", { quiet: true });
    if (look !== this.looks) return; // a newer one knows more
    Object.assign(this, { cards: data.toReversed(), current, previous });
    this.listed(this.cards, current);
    this.choose(...this.asked);
  }

  /** Look at a version, perhaps beside another one; at the live one if that is not there. */
  choose(version, other = null) {
    this.asked = [version, other];
    this.version = this.#card(version) ? version : this.current;
    this.other = this.#card(other) && other !== this.version ? other : null;
    this.#show();
    if (this.version !== null) this.chosen(this.version, this.other);
  }

  /** Make a version live if the reader confirms it. */
  async #promote(version) {
    const { hash } = location;
    if (!this.#card(version)) await this.refresh().catch((problem) => this.refused(problem)); // just trained
    if (location.hash !== hash) return;
    const [own, live] = [this.#card(version), this.live];
    const tests = { test: testOf(own), live_test: testOf(live) };
    const values = { version, accuracy: share(own), live: live?.version, better: share(live), ...tests };
    const question = { title: t("promote_title", values), text: t("promote_is", values), yes: t("activate") };
    if (await isConfirmed(question)) await this.#change(() => this.#makeLive(version, live?.version));
  }

  async #makeLive(version, before) {
    await post("models/current", { version }, { method: "PUT" });
    this.said = () => [t("is_live", { version }), ...this.#undo(before)];
  }

  /** Make the version live that was live before, if the reader confirms it. */
  async rollBack() {
    const before = this.current;
    const values = { version: this.previous, live: before };
    const question = { title: t("rollback_title", values), text: t("rollback_is", values), yes: t("rollback") };
    if (!(await isConfirmed(question))) return;
    await this.#change(async () => {
      const { version } = await post("models/rollback");
      this.said = () => [t("is_live", { version }), ...this.#undo(before)];
    });
  }

  #undo(before) {
    if (!this.#card(before)) return [];
    const label = { "aria-label": t("undo_to", { version: before }) };
    return [" ", button(t("undo"), () => this.#change(() => this.#makeLive(before, this.current)), label)];
  }

  async #upload(file) {
    this.said = () => [t("uploading", { name: file.name })];
    this.#say();
    const { hash } = location;
    const headers = { "Content-Type": "application/octet-stream" };
    const query = new URLSearchParams({ note: file.name.slice(0, 1000) });
    const { version } = await askJson(`models?${query}`, { method: "POST", body: file, headers });
    this.said = () => [t("uploaded_as", { version, name: file.name })];
    if (location.hash === hash) go("versions", String(version));
  }

  async delete(version) {
    const question = { title: t("delete_version", { version }), text: t("delete_version_is"), yes: t("delete_job") };
    if (!(await isConfirmed(question))) return;
    await this.#change(async () => {
      await ask(`models/${version}`, { method: "DELETE" });
      this.said = () => [t("version_deleted", { version })];
    });
  }

  async #change(change) {
    this.said = this.refusal = null;
    try {
      await change();
      await this.refresh();
    } catch (problem) {
      this.said = () => problemNodes(problem);
    }
    this.#say();
  }

  /** Say that something was refused; null takes it back. */
  refused(problem) {
    if (problem === this.refusal) return;
    this.refusal = problem;
    this.#say();
  }

  #card(version) {
    return this.cards.find((card) => card.version === version) ?? null;
  }

  #say() {
    const { refusal, said } = this;
    byId("versions-said").replaceChildren(...(refusal ? problemNodes(refusal) : (said?.() ?? [])));
  }

  #show() {
    const { cards, previous } = this;
    fill(byId("rows"), [cards, this.current], () => cards.map((card) => this.#row(card)));
    byId("rows").querySelectorAll(".pick").forEach((link, i) => {
      link.ariaCurrent = cards[i].version === this.version ? "true" : null;
    });
    byId("rollback").disabled = previous === null;
    byId("rollback").textContent = previous === null ? t("rollback") : t("rollback_to", { version: previous });
    byId("rollback").title = previous === null ? t("no_rollback") : "";
  }

  #row(card) {
    const { job, note, origin, recipe, version } = card;
    const isLive = version === this.current;
    const link = element("a", { href: `#/versions/${version}`, className: "pick" }, version);
    link.setAttribute("aria-label", t("show", { version }));
    // The job of a version that comes with MyNet exists only where it was trained.
    const isShipped = origin === "checkpoint" || (origin === "trained" && job === null);
    const shipped = isShipped ? [element("span", { className: "mark" }, t("shipped"))] : [];
    const from = [recipe ? t(recipe) : t(origin), ...shipped];
    const about = element("small", {}, [day(card.created_at), note].filter(Boolean).join(" · "));
    const act = isLive
      ? element("span", { className: "badge" }, t("live"))
      : button(t("activate"), () => this.promote(version), { "aria-label": `${t("activate")} ${version}` });
    const cells = [[...from, about], [element("b", {}, share(card)), this.#beside(card)], [act]];
    const head = element("th", { scope: "row" }, link);
    return element("tr", {}, head, ...cells.map((each) => element("td", {}, ...each)));
  }

  /** Say whether a version reads better than the live one. A difference within its interval may be chance. */
  #beside(card) {
    const { live } = this;
    const { test_accuracy, test_accuracy_interval: [low, high] } = card;
    if (!live || card === live) return element("small", {}, `${percent(low, 2)} – ${percent(high, 2)}`);
    if (!haveSameTest(card, live)) return element("small", {}, `${t("test_dataset")}: ${testOf(card)}`);
    const isEven = live.test_accuracy >= low && live.test_accuracy <= high;
    const points = number(100 * Math.abs(test_accuracy - live.test_accuracy), 2);
    const word = isEven ? "even" : test_accuracy > live.test_accuracy ? "better" : "worse";
    return element("small", { className: word }, t(word, { points }));
  }
}

const MNIST_TEST = "mnist-test";

/** Return the name of the test images of a version or a job: MNIST's if there is none. */
export const testOf = (tested) => tested?.data?.test.name ?? MNIST_TEST;

/** Say whether two have the same test images. Their name is not enough: those of `corrections` change. */
export const haveSameTest = (one, other) => imagesOf(one) === imagesOf(other);

const imagesOf = (tested) => (testOf(tested) === MNIST_TEST ? MNIST_TEST : tested.data.test.digest);

const share = (card) => (card ? percent(card.test_accuracy, 2) : "–");
