// All digits on the paper, if there are several: their boxes, and their text.
import { askJson } from "../service/api.js";
import { byId } from "../elements/dom.js";
import { inWords, t } from "../language/words.js";

export class Lines {
  constructor(paper) {
    Object.assign(this, { paper, reading: null, sent: 0 });
    inWords(() => this.#show());
  }

  /** Read all digits on the paper; `isSeveral` is false if there is one at most. */
  async about(isSeveral) {
    const number = ++this.sent;
    this.#become(null);
    if (!isSeveral) return;
    const image = this.paper.imageToRead();
    const headers = { "Content-Type": image.type || "application/octet-stream" };
    const reading = await askJson("read", { method: "POST", body: image, headers }).catch(() => null);
    if (number === this.sent) this.#become(reading);
  }

  #become(reading) {
    this.reading = reading;
    this.paper.showBoxes(reading?.lines.flatMap(({ digits }) => digits) ?? []);
    this.#show();
  }

  #show() {
    const text = this.reading?.text ?? "";
    byId("lines").hidden = !text;
    byId("lines").textContent = text && t("lines", { text });
  }
}
