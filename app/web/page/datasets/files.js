// What enters: files and folders that are dropped or chosen. What leaves: one file to upload, and a name for it. This
// module does not know what a data set is: the service does.
import { zipOf } from "./zip.js";

const ARCHIVE = /\.(zip|npz|csv)$/i;
const MOST = 65_000; // files in a zip of the plain form

/** Return {name, files} of what was dropped: files of all folders, each with its path. */
export async function dropped(transfer) {
  // Entries are gone after the first pause.
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  const found = await Promise.all(entries.map((entry) => walk(entry)));
  return { name: plain(entries[0]?.name ?? ""), files: found.flat() };
}

/** Return the same of the files of an input. */
export function chosen(list) {
  const files = [...list].map((file) => ({ path: file.webkitRelativePath || file.name, file }));
  return { name: plain(files[0]?.path.split("/")[0] ?? ""), files };
}

/** Return one file: the only archive, or a zip of all. */
export async function packed(files) {
  const [{ file }] = files;
  return files.length === 1 && ARCHIVE.test(file.name) ? file : zipOf(files.slice(0, MOST));
}

async function walk(entry) {
  const path = entry.fullPath.slice(1);
  if (entry.isFile) return [{ path, file: await new Promise((resolve, reject) => entry.file(resolve, reject)) }];
  const reader = entry.createReader();
  const children = [];
  for (let some = null; some?.length !== 0; ) {
    some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    children.push(...some);
  }
  return (await Promise.all(children.map(walk))).flat();
}

/** Return a name that the service takes. */
function plain(name) {
  const letters = name.replace(ARCHIVE, "").replace(/[^A-Za-z0-9._-]+/g, "-");
  return letters.replace(/^[^A-Za-z0-9]+/, "").slice(0, 64);
}
