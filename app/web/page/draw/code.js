// The request for the drawing on the paper, as a program to copy: for a shell, in Python, in JavaScript.
import { button, byId } from "../elements/dom.js";
import { inWords, t } from "../language/words.js";

const BASE = new URL("../../../../", import.meta.url); // this file is BASE/web/DIGEST/page/draw/code.js
const MAX_BYTES = 20_000; // a larger file is named, not spelled out
const LANGUAGES = { curl: ["curl", curl], python: ["Python", python], javascript: ["JavaScript", javascript] };

export class Code {
  constructor() {
    Object.assign(this, { image: null, url: "", language: "curl" });
    const dialog = byId("code-dialog");
    this.tabs = Object.entries(LANGUAGES).map(([language, [name]]) => {
      const tab = button(name, () => this.#choose(language));
      tab.dataset.language = language;
      return tab;
    });
    byId("code-languages").replaceChildren(...this.tabs);
    byId("code").addEventListener("click", () => this.#open(dialog));
    byId("code-close").addEventListener("click", () => dialog.close());
    byId("code-copy").addEventListener("click", () => this.#copy());
    inWords(() => this.#say(""));
  }

  about(image) {
    this.image = image;
    byId("code").disabled = image === null;
  }

  async #open(dialog) {
    this.url = this.image.size > MAX_BYTES ? null : await dataUrl(this.image);
    this.#choose(this.language);
    dialog.showModal();
  }

  #choose(language) {
    this.language = language;
    for (const tab of this.tabs) tab.setAttribute("aria-pressed", tab.dataset.language === language);
    const needsKey = !byId("give-key").hidden;
    const request = { url: new URL("predict", BASE).href, image: this.url, file: this.image.name, needsKey };
    byId("snippet").textContent = LANGUAGES[language][1](request);
    this.#say("");
  }

  async #copy() {
    try {
      await navigator.clipboard.writeText(byId("snippet").textContent);
      this.#say(t("copied"));
    } catch {
      getSelection().selectAllChildren(byId("snippet"));
      this.#say(t("copy_yourself"));
    }
  }

  #say(words) {
    byId("code-said").textContent = words;
  }
}

function dataUrl(blob) {
  const reader = new FileReader();
  reader.readAsDataURL(blob);
  return new Promise((resolve) => reader.addEventListener("load", () => resolve(reader.result)));
}

// A shell takes all between single quotes as it stands; a file's name may have one.
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

function curl({ url, image, file, needsKey }) {
  const lines = [`curl ${quoted(url)}`];
  if (needsKey) lines.push('-H "X-API-Key: $MYNET_KEY"');
  if (image === null) lines.push(`--data-binary @${quoted(file)}`);
  else lines.push("-H 'Content-Type: application/json'", `-d '{"image": "${image}"}'`);
  return lines.join(" \\\n  ");
}

function python({ url, image, file, needsKey }) {
  const body = image === null
    ? `body = open(${JSON.stringify(file)}, "rb").read()`
    : `image = "${image}"\nbody = json.dumps({"image": image}).encode()`;
  const headers = [`"Content-Type": "${image === null ? "application/octet-stream" : "application/json"}"`];
  if (needsKey) headers.push('"X-API-Key": os.environ["MYNET_KEY"]');
  return `import json
${needsKey ? "import os\n" : ""}from urllib.request import Request, urlopen

${body}
request = Request("${url}", body, {${headers.join(", ")}})
with urlopen(request) as response:
    print(json.load(response))`;
}

function javascript({ url, image, file, needsKey }) {
  const type = image === null ? "application/octet-stream" : "application/json";
  const headers = [`"Content-Type": "${type}"`];
  if (needsKey) headers.push('"X-API-Key": process.env.MYNET_KEY');
  const body = image === null
    ? `await (await import("node:fs/promises")).readFile(${JSON.stringify(file)})`
    : `JSON.stringify({ image })`;
  const given = image === null ? "" : `const image = "${image}";\n`;
  return `${given}const response = await fetch("${url}", {
  method: "POST",
  headers: { ${headers.join(", ")} },
  body: ${body},
});
console.log(await response.json());`;
}
