// Before the first paint: the theme that was chosen here before. A classic script, since those wait
// for nothing.
try {
  const theme = localStorage.getItem("theme");
  if (theme) document.documentElement.dataset.theme = theme;
} catch {
  // Storage may be forbidden; the system's theme holds then.
}
