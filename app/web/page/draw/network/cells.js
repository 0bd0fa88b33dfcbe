// Paints the layers of the network as lit cells on a canvas, with paths between them.
import { middle } from "./arrangement.js";

const FONT = "13px system-ui, sans-serif";
const GAPLESS = 5; // pixels: cells up to this size touch
const blanks = new WeakMap(); // by arrangement

/** `values` has a list of bytes for each layer; `edges` are those of `strongestPaths`. */
export function paintCells(context, arrangement, values, colours, { edges = [], at = null, digit = null }) {
  const { layers } = arrangement;
  paintBlank(context, arrangement, colours);
  layers.forEach((layer, i) => paintLayer(context, layer, values[i], i ? colours.cell : colours.input));
  paintEdges(context, layers, edges, colours);
  paintDigits(context, arrangement, colours, digit);
  if (at) outline(context, layers[at[0]], at[1], colours.ink, 2);
}

/** Paint the network without any lit cell: a copy of what was painted once for this size and these colours. */
function paintBlank(context, arrangement, colours) {
  const { width, height } = context.canvas;
  let blank = blanks.get(arrangement);
  if (blank?.colours !== colours || blank.canvas.width !== width) {
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    const painter = canvas.getContext("2d");
    painter.setTransform(context.getTransform());
    for (const layer of arrangement.layers) paintLayer(painter, layer, new Uint8Array(layer.count), colours.cell, true);
    blank = { canvas, colours };
    blanks.set(arrangement, blank);
  }
  context.save();
  context.resetTransform();
  context.drawImage(blank.canvas, 0, 0);
  context.restore();
}

/** Paint the cells that are lit; most of the 1,478 are not. */
function paintLayer(context, { x, y, columns, size, count }, values, { css }, hasDark = false) {
  const side = size > GAPLESS ? size - 1 : size + 0.35;
  for (let i = 0; i < count; i++) {
    if (!values[i] && !hasDark) continue;
    context.fillStyle = css[values[i]];
    context.fillRect(x + (i % columns) * size, y + Math.floor(i / columns) * size, side, side);
  }
}

function paintEdges(context, layers, edges, colours) {
  context.strokeStyle = colours.accent;
  for (const { layer, from, to, share } of edges) {
    const [[ax, ay], [bx, by]] = [middle(layers[layer], from), middle(layers[layer + 1], to)];
    context.globalAlpha = 0.25 + 0.75 * share;
    context.lineWidth = 0.75 + share;
    context.beginPath();
    context.moveTo(ax, ay);
    context.lineTo(bx, by);
    context.stroke();
  }
  context.globalAlpha = 1;
  for (const { layer, from, to } of edges) {
    if (layer) outline(context, layers[layer], from, colours.accent, 1);
    outline(context, layers[layer + 1], to, colours.accent, 1);
  }
}

function outline(context, layer, index, colour, width) {
  const [x, y] = middle(layer, index);
  const side = layer.size + width - 1;
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.strokeRect(x - 0.5 - side / 2, y - 0.5 - side / 2, side, side);
}

function paintDigits(context, { layers, isWide }, colours, digit) {
  const layer = layers.at(-1);
  const [left, top] = isWide ? [layer.size / 2 + 10, 0] : [0, layer.size / 2 + 11];
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillStyle = colours.ink;
  context.font = FONT;
  const write = (i) => {
    const [x, y] = middle(layer, i);
    context.fillText(i, x + left, y + top);
  };
  for (let i = 0; i < layer.count; i++) if (i !== digit) write(i);
  if (digit === null) return;
  context.font = `700 ${FONT}`;
  write(digit);
}
