// What enters: files with their paths. What leaves: one zip archive of them, not compressed (PKWARE APPNOTE 6.3.10): images
// are compressed already. This module does not know what is in the files.

const [LOCAL, CENTRAL, END] = [0x04034b50, 0x02014b50, 0x06054b50];
const VERSION = 20;
const UTF8 = 0x0800;
const MIDNIGHT = 0x0021; // 1 January 1980, since the date of a file does not matter

/** Return a zip as a Blob; a file is {path, file}. */
export async function zipOf(files) {
  const [parts, directory] = [[], []];
  let offset = 0;
  for (const { path, file } of files) {
    const name = new TextEncoder().encode(path);
    const sum = crc32(new Uint8Array(await file.arrayBuffer()));
    const size = [4, file.size];
    const kind = [[2, VERSION], [2, UTF8], [2, 0], [2, 0], [2, MIDNIGHT]];
    const head = fields(...kind, [4, sum], size, size, [2, name.length], [2, 0]);
    parts.push(fields([4, LOCAL]), head, name, file);
    const tail = fields([2, 0], [2, 0], [2, 0], [4, 0], [4, offset]);
    directory.push(fields([4, CENTRAL], [2, VERSION]), head, tail, name);
    offset += 4 + head.length + name.length + file.size;
  }
  const size = directory.reduce((sum, each) => sum + each.length, 0);
  const count = files.length;
  const end = fields([4, END], [2, 0], [2, 0], [2, count], [2, count], [4, size], [4, offset], [2, 0]);
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}

/** Return numbers as bytes, the lowest first; a field is [bytes, number]. */
function fields(...numbers) {
  const bytes = numbers.flatMap(([length, number]) => Array.from({ length }, (_, i) => (number >>> (8 * i)) & 255));
  return Uint8Array.from(bytes);
}

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let i = 0; i < 8; i++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

function crc32(bytes) {
  let sum = -1;
  for (const byte of bytes) sum = TABLE[(sum ^ byte) & 255] ^ (sum >>> 8);
  return ~sum >>> 0;
}
