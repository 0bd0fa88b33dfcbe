// Paints the layers of the network as lit cells on a canvas, with paths between them.
import { middle } from "./arrangement.js";

const css = ([red, green, blue]) => `rgb(${red} ${green} ${blue})`;

/** `values` has a list of bytes for each layer; `edges` are those of `strongestPaths`. */
export function paintCells(context, arrangement, values, colours, { edges = [], at = null, digit = null }) {
  const { layers } = arrangement;
  layers.forEach((layer, i) => paintLayer(context, layer, values[i], i ? colours.cell : colours.input));
  paintEdges(context, layers, edges, colours);
  paintDigits(context, arrangement, colours, digit);
  if (at) outline(context, layers[at[0]], at[1], colours.ink, 2);
}

function paintLayer(context, layer, values, table) {
  const { x, y, columns, size } = layer;
  const side = size > 5 ? size - 1 : size + 0.35; // pixels touch, cells do not
  for (let i = 0; i < layer.count; i++) {
    context.fillStyle = css(table[values[i]]);
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
  context.textAlign = "center";
  context.textBaseline = "middle";
  for (let i = 0; i < layer.count; i++) {
    const [x, y] = middle(layer, i);
    const [left, top] = isWide ? [layer.size / 2 + 10, 0] : [0, layer.size / 2 + 11];
    context.fillStyle = colours.ink;
    context.font = `${i === digit ? "700" : "400"} 13px system-ui, sans-serif`;
    context.fillText(i, x + left, y + top);
  }
}
