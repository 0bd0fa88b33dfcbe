// Where the cells of each layer lie: layers side by side, or below one another on a narrow screen.
const WIDE = 600; // pixels
const COUNTS = [784, 300, 256, 128, 10];
// Columns and size of a cell, in pixels, for layers side by side; `LABELS` is the room for the ten digits.
const SIDE_BY_SIDE = [[28, 6.5], [20, 12.1], [16, 11.4], [8, 11.4], [1, 18.2]];
const STACKED = [[28, 4], [30, 0], [32, 0], [32, 0], [10, 0]]; // of size 0: as wide as the canvas
const LABELS = 20;
const GAP = 24;

/** Return the height, and for each layer {x, y, columns, rows, size, count}. */
export function arrange(width) {
  return width < WIDE ? stacked(width) : sideBySide(width);
}

function sideBySide(width) {
  const all = SIDE_BY_SIDE.reduce((sum, [columns, size]) => sum + columns * size, LABELS);
  const scale = Math.min(1, (width - 4 * GAP) / all);
  const gap = (width - all * scale) / 4;
  const height = 28 * 6.5 * scale;
  let x = 0;
  const layers = SIDE_BY_SIDE.map(([columns, size], i) => {
    const layer = grid(COUNTS[i], columns, size * scale, x, 0);
    layer.y = (height - layer.rows * layer.size) / 2;
    x += columns * layer.size + gap;
    return layer;
  });
  return { height, layers, isWide: true };
}

function stacked(width) {
  let y = 0;
  const layers = STACKED.map(([columns, size], i) => {
    const layer = grid(COUNTS[i], columns, size || width / columns, 0, y);
    layer.x = (width - columns * layer.size) / 2;
    y += layer.rows * layer.size + GAP;
    return layer;
  });
  return { height: y - GAP + LABELS, layers, isWide: false };
}

const grid = (count, columns, size, x, y) => ({ count, columns, size, x, y, rows: Math.ceil(count / columns) });

/** Return the middle of a cell. */
export function middle({ x, y, columns, size }, index) {
  return [x + ((index % columns) + 0.5) * size, y + (Math.floor(index / columns) + 0.5) * size];
}

/** Return the cell at a point as [layer, index], or null; the input has no cells of its own. */
export function cellAt({ layers }, x, y) {
  for (let i = 1; i < layers.length; i++) {
    const layer = layers[i];
    const [column, row] = [Math.floor((x - layer.x) / layer.size), Math.floor((y - layer.y) / layer.size)];
    const index = row * layer.columns + column;
    const isInside = column >= 0 && row >= 0 && column < layer.columns && index < layer.count;
    if (isInside) return [i, index];
  }
  return null;
}

/** Return the cell beside another one; beyond an edge, the nearest of the next layer. */
export function neighbour({ layers, isWide }, [layer, index], [dx, dy]) {
  const { columns, rows } = layers[layer];
  const [column, row] = [(index % columns) + dx, Math.floor(index / columns) + dy];
  const isInside = column >= 0 && column < columns && row >= 0 && row < rows;
  if (isInside) return [layer, Math.min(row * columns + column, layers[layer].count - 1)];
  const step = isWide ? dx : dy;
  const next = layers[layer + step];
  if (!step || !next || layer + step === 0) return [layer, index];
  if (isWide) {
    const at = Math.round((Math.max(0, Math.min(row, rows - 1)) / Math.max(1, rows - 1)) * (next.rows - 1));
    return [layer + step, at * next.columns + (dx > 0 ? 0 : next.columns - 1)];
  }
  const at = Math.round((Math.max(0, Math.min(column, columns - 1)) / Math.max(1, columns - 1)) * (next.columns - 1));
  return [layer + step, Math.min(at + (dy > 0 ? 0 : (next.rows - 1) * next.columns), next.count - 1)];
}
