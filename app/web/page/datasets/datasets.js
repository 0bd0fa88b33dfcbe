// What enters: the data sets of the service, and files of the reader's own. What leaves: which of them to train and to test
// with, and a dialog that uploads, shows and deletes them. This module does not know what is trained.
import { isConfirmed } from "../elements/confirm.js";
import { button, byId, element, fill, unlessBusy } from "../elements/dom.js";
import { showProblem } from "../elements/problem.js";
import { inWords, number, t } from "../language/words.js";
import { ask, askJson } from "../service/api.js";
import { chosen, dropped, packed } from "./files.js";
import { reportOf } from "./report.js";

const BUILT_IN = ["mnist", "mnist-test", "corrections"];
const [MNIST, MNIST_TEST] = BUILT_IN;

export class Datasets {
  constructor() {
    Object.assign(this, { all: [], files: [], ticked: new Set([MNIST]), tested: MNIST_TEST });
    Object.assign(this, { lists: 0, looks: 0 });
    this.dialog = byId("data-dialog");
    byId("own-data").addEventListener("click", () => this.#open());
    byId("data-close").addEventListener("click", () => this.dialog.close());
    byId("test-dataset").addEventListener("change", (event) => (this.tested = event.target.value));
    for (const [press, input] of [["choose-zip", "zip-file"], ["choose-folder", "folder"]]) {
      byId(press).addEventListener("click", () => byId(input).click());
      byId(input).addEventListener("change", (event) => {
        this.#take(chosen(event.target.files));
        event.target.value = "";
      });
    }
    const upload = unlessBusy(() => this.#try(() => this.#upload()));
    byId("data-form").addEventListener("submit", (event) => {
      event.preventDefault();
      upload();
    });
    this.#takeDrops();
    inWords(() => this.#show());
  }

  /** What a job is to be trained and tested with, where it is not MNIST alone. */
  get chosen() {
    const datasets = [...this.ticked];
    const isUsual = datasets.length === 1 && datasets[0] === MNIST;
    return { ...(isUsual ? {} : { datasets }), ...(this.tested === MNIST_TEST ? {} : { test_dataset: this.tested }) };
  }

  async refresh() {
    const list = ++this.lists;
    const { data } = await askJson("datasets", { quiet: true });
    if (list !== this.lists) return; // a newer one knows more
    this.all = data;
    const names = this.all.map(({ name }) => name);
    this.ticked = new Set([...this.ticked].filter((name) => names.includes(name)));
    if (!names.includes(this.tested)) this.tested = MNIST_TEST;
    this.#show();
  }

  #open() {
    this.#take({ name: "", files: [] });
    this.#forgetReport();
    this.dialog.showModal();
    this.#try(() => this.refresh());
  }

  #takeDrops() {
    // The whole dialog takes what is dropped, and the page below gets nothing of it.
    this.dialog.addEventListener("dragover", (event) => {
      event.preventDefault();
      event.stopPropagation();
      byId("drop").classList.add("over");
    });
    this.dialog.addEventListener("dragleave", () => byId("drop").classList.remove("over"));
    this.dialog.addEventListener("drop", (event) => {
      event.preventDefault();
      event.stopPropagation();
      byId("drop").classList.remove("over");
      this.#try(async () => this.#take(await dropped(event.dataTransfer)));
    });
  }

  #take({ name, files }) {
    this.files = files;
    byId("data-form").hidden = !files.length;
    byId("files-said").textContent = files.length ? t("n_files", { n: number(files.length) }) : "";
    if (!files.length) return;
    byId("data-name").value = name;
    byId("data-name").focus();
  }

  async #upload() {
    const { files } = this;
    const name = byId("data-name").value;
    const form = new FormData();
    byId("data-busy").hidden = false;
    try {
      form.append("file", await packed(files), "data.zip");
      form.append("name", name);
      const dataset = await (await ask("datasets", { method: "POST", body: form })).json();
      this.ticked.add(dataset.name);
      if (this.files === files) this.#take({ name: "", files: [] });
      await this.refresh();
      await this.#look(dataset);
    } finally {
      byId("data-busy").hidden = true;
    }
  }

  /** Show the report of a data set, or of one that the service is asked for. */
  async #look(asked) {
    const look = ++this.looks;
    const dataset = await asked;
    const nodes = await reportOf(dataset);
    if (look !== this.looks) return; // another one is looked at
    byId("report").replaceChildren(...nodes);
    if (dataset.name === MNIST_TEST) return;
    const use = () => {
      this.ticked.add(dataset.name);
      this.#show();
      this.dialog.close();
    };
    byId("report").append(button(t("train_with", { name: dataset.name }), use, { className: "main" }));
  }

  async #remove({ id, name }) {
    const question = { title: t("delete_dataset", { name }), text: t("delete_dataset_is"), yes: t("delete_job") };
    if (!(await isConfirmed(question))) return;
    await ask(`datasets/${id}`, { method: "DELETE" });
    this.#forgetReport();
    await this.refresh();
  }

  #forgetReport() {
    this.looks++; // a report that is still loading does not appear either
    byId("report").replaceChildren();
  }

  async #try(act) {
    showProblem(byId("data-said"), null);
    try {
      await act();
    } catch (problem) {
      showProblem(byId("data-said"), problem);
    }
  }

  #show() {
    const trainable = this.all.filter(({ id }) => !BUILT_IN.includes(id) || id === MNIST);
    fill(byId("datasets"), trainable, () => trainable.map((each) => this.#tick(each)));
    byId("datasets").querySelectorAll("input").forEach((box, i) => (box.checked = this.ticked.has(trainable[i].name)));
    const tests = this.all.filter(({ id }) => !BUILT_IN.includes(id) || id === MNIST_TEST);
    fill(byId("test-dataset"), tests, () => tests.map(({ name }) => element("option", { value: name }, name)));
    byId("test-dataset").value = this.tested;
    byId("data-summary").textContent = [...this.ticked].join(" + ");
    fill(byId("data-rows"), this.all, () => this.all.map((each) => this.#row(each)));
  }

  #tick({ name, images }) {
    const change = (event) => {
      if (event.target.checked) this.ticked.add(name);
      else this.ticked.delete(name);
      this.#show();
    };
    const box = element("input", { type: "checkbox", onchange: change });
    const words = element("span", {}, `${name} `, element("small", {}, number(images ?? 0)));
    return element("label", { className: "tick" }, box, words);
  }

  #row(dataset) {
    const { id, images, name } = dataset;
    const look = () => this.#try(() => this.#look(askJson(`datasets/${id}`)));
    const acts = [button(t("look"), look, { "aria-label": `${t("look")}: ${name}` })];
    const label = { "aria-label": `${t("delete_job")}: ${name}` };
    const remove = () => this.#try(() => this.#remove(dataset));
    if (!BUILT_IN.includes(id)) acts.push(" ", button(t("delete_job"), remove, label));
    const cells = [[number(images ?? 0)], acts].map((content) => element("td", {}, ...content));
    return element("tr", {}, element("th", { scope: "row" }, name), ...cells);
  }
}
