/** Puts measured tables into the README, so that its figures are the ones that were printed. */

const README = new URL("README.md", import.meta.url);

/** Replaces what stands between `<!-- name -->` and `<!-- end of name -->`. */
export function writeSection(name: string, markdown: string): void {
  const [start, end] = [`<!-- ${name} -->`, `<!-- end of ${name} -->`];
  const text = Deno.readTextFileSync(README);
  const [from, to] = [text.indexOf(start), text.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`Cannot find section ${name} in bench/README.md`);
  const before = text.slice(0, from + start.length);
  Deno.writeTextFileSync(README, `${before}\n\n${markdown.trim()}\n\n${text.slice(to)}`);
}
