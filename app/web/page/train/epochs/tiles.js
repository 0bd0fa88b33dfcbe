// What enters: the weights of the first layer. What leaves: 300 pictures of 28×28 on a canvas, one of each cell: for ink
// in one colour, against it in the other. This module does not know which epoch they are of.

const SIDE = 28;
const PIXELS = SIDE * SIDE;
const COLUMNS = 25;
const ROWS = 12;
const STEP = SIDE + 1;
const STRONGEST = 4; // times the mean size of a weight: full colour
const CONTRAST = 1.5; // the noise of the random start stays pale

export class Tiles {
  constructor(canvas) {
    this.canvas = canvas;
    canvas.width = COLUMNS * STEP + 1;
    canvas.height = ROWS * STEP + 1;
    this.context = canvas.getContext("2d");
    this.weights = null;
    const dark = matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", () => this.paint());
  }

  show(weights) {
    this.weights = weights;
    this.paint();
  }

  paint() {
    const { canvas, context, weights } = this;
    const style = getComputedStyle(canvas);
    const image = context.createImageData(canvas.width, canvas.height);
    const all = new Uint32Array(image.data.buffer);
    all.fill(packed(rgb(style.outlineColor)));
    if (weights) paintTiles(all, canvas.width, weights, shades(style));
    context.putImageData(image, 0, 0);
  }
}

function paintTiles(all, width, weights, [against, nothing, towards]) {
  const scale = STRONGEST * Math.sqrt(weights.reduce((sum, each) => sum + each * each, 0) / weights.length);
  for (let cell = 0; cell < COLUMNS * ROWS; cell++) {
    const left = 1 + (cell % COLUMNS) * STEP;
    const top = 1 + Math.floor(cell / COLUMNS) * STEP;
    for (let i = 0; i < PIXELS; i++) {
      const share = Math.max(-1, Math.min(1, weights[cell * PIXELS + i] / scale));
      const colour = mix(nothing, share < 0 ? against : towards, Math.abs(share) ** CONTRAST);
      all[(top + Math.floor(i / SIDE)) * width + left + (i % SIDE)] = packed(colour);
    }
  }
}

/** Return the colours against ink, of nothing, and for ink: CSS names them, for light and dark. */
const shades = ({ borderTopColor, backgroundColor, color }) => [borderTopColor, backgroundColor, color].map(rgb);
const rgb = (colour) => colour.match(/[\d.]+/g).map(Number);
const mix = (from, to, share) => from.map((each, i) => each + (to[i] - each) * share);
const packed = ([r, g, b]) => ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
