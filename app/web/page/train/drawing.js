// What enters: the paper of the view Draw. What leaves: its drawing as the network gets it, 28×28 pixels. This module does
// not know what is read from them.
import { read } from "../draw/reader.js";

const SIDE = 28;
const MEAN = 0.5;

export class Drawing {
  constructor(paper) {
    Object.assign(this, { paper, changes: null, pixels: null });
  }

  get isBlank() {
    return this.paper.isBlank;
  }

  /** Return {input, picture}: 784 values from -0.5 to 0.5, and the picture as a data URL; null for a blank sheet. */
  async look() {
    if (this.isBlank) return null;
    const { changes } = this.paper;
    if (this.changes === changes) return this.pixels;
    const { seen } = await read(this.paper.image(), "?explain=true", { quiet: true });
    const pixels = { input: await inputOf(seen), picture: seen };
    if (this.paper.changes === changes) Object.assign(this, { changes, pixels });
    return pixels;
  }

  /** Return what a version reads. */
  readBy(version) {
    return read(this.paper.image(), `?version=${version}`);
  }
}

async function inputOf(url) {
  const image = new Image();
  image.src = url;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = SIDE;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  const { data } = context.getImageData(0, 0, SIDE, SIDE);
  return Float32Array.from({ length: SIDE * SIDE }, (_, i) => data[4 * i] / 255 - MEAN);
}
