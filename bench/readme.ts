/** Puts measured tables into a README, so that its figures are the ones that were printed. */

/** Replaces what stands between `<!-- name -->` and `<!-- end of name -->`. */
export function writeSection(name: string, markdown: string, file = "README.md"): void {
  const readme = new URL(file, import.meta.url);
  const [start, end] = [`<!-- ${name} -->`, `<!-- end of ${name} -->`];
  const text = Deno.readTextFileSync(readme);
  const [from, to] = [text.indexOf(start), text.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`Cannot find section ${name} in ${readme.pathname}`);
  const before = text.slice(0, from + start.length);
  Deno.writeTextFileSync(readme, `${before}\n\n${markdown.trim()}\n\n${text.slice(to)}`);
}
