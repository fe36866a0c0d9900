/** The documents describe what is there: every source file, and links that lead somewhere. */

import { assert, assertEquals } from "@std/assert";
import { dirname } from "@std/path/dirname";
import { fromFileUrl } from "@std/path/from-file-url";
import { join } from "@std/path/join";

const ROOT = fromFileUrl(new URL("../../", import.meta.url));

/** Where files of the repository are on the web, for pages that JSR shows as well. */
const ON_THE_WEB = [
  "https://github.com/descent/sgd/blob/main/",
  "https://github.com/descent/sgd/tree/main/",
  "https://raw.githubusercontent.com/descent/sgd/main/",
];

const { exports } = JSON.parse(await Deno.readTextFile(join(ROOT, "deno.json")));

/** The files of the entries. */
const ENTRIES = Object.values<string>(exports).map((file) => file.replace("./", ""));

const architecture = await Deno.readTextFile(join(ROOT, "docs/architecture.md"));

/** The files in the tables of the architecture page. */
const described = Array.from(
  architecture.matchAll(/^\| `((?:kernels\/)?src\/[^`]+)` +\| (.*?) *\|$/gm),
  ([, file, purpose]) => ({ file, purpose }),
);

async function filesBelow(folder: string): Promise<string[]> {
  const entries = await Array.fromAsync(Deno.readDir(join(ROOT, folder)));
  const lists = entries.map(({ name, isDirectory }) =>
    isDirectory ? filesBelow(`${folder}/${name}`) : [`${folder}/${name}`]
  );
  return (await Promise.all(lists)).flat();
}

Deno.test("docs/architecture.md describes every source file once, and no other", async () => {
  const files = [...await filesBelow("src"), ...await filesBelow("kernels/src")];
  assertEquals(described.map(({ file }) => file).sort(), files.sort());
});

Deno.test("docs/architecture.md gives each file a purpose, as a sentence", () => {
  for (const { file, purpose } of described) assert(/^.{10,}\.$/.test(purpose), file);
});

Deno.test("the README has at most 200 lines", async () => {
  const readme = await Deno.readTextFile(join(ROOT, "README.md"));
  assert(readme.split("\n").length <= 201);
});

Deno.test("files and folders that the documents name in code exist", async () => {
  const pages = [...await filesBelow("docs"), "README.md", "CONTRIBUTING.md", "bench/README.md"];
  const missing: string[] = [];
  let named = 0;
  for (const page of pages.filter((name) => name.endsWith(".md"))) {
    const text = await Deno.readTextFile(join(ROOT, page));
    const paths = text.matchAll(/`((?:src|kernels|tests|tools|docs|examples|bench)\/[\w./-]+)`/g);
    for (const [, path] of paths) {
      named++;
      if (path.startsWith("kernels/target/")) continue; // there after a build
      if (await Deno.stat(join(ROOT, path)).catch(() => null) === null) {
        missing.push(`${page}: ${path}`);
      }
    }
  }
  assertEquals(missing, []);
  assert(named > 200, `${named}`);
});

/** The headings of a page as the fragments that GitHub makes of them. */
function fragmentsOf(text: string): string[] {
  return Array.from(
    text.matchAll(/^#+ (.*)$/gm),
    ([, title]) => title.toLowerCase().replaceAll(/[^\w\- ]/g, "").replaceAll(" ", "-"),
  );
}

/** What is wrong with a link from a page; null for a good link or one to another site. */
async function problemOf(page: string, link: string): Promise<string | null> {
  const web = ON_THE_WEB.find((prefix) => link.startsWith(prefix));
  if (web === undefined && /^[a-z]+:/.test(link)) return null;
  const [path, fragment] = (web === undefined ? link : link.slice(web.length)).split("#");
  const folder = web === undefined ? dirname(page) : "";
  const target = path === "" ? join(ROOT, page) : join(ROOT, folder, path);
  const found = await Deno.stat(target).catch(() => null);
  if (found === null) return `${page}: ${link} leads nowhere`;
  if (fragment === undefined) return null;
  const fragments = fragmentsOf(await Deno.readTextFile(target));
  return fragments.includes(fragment) ? null : `${page}: ${link} names no heading`;
}

Deno.test("links of the documents and of the entries lead to files and headings", async () => {
  const documents = [...await filesBelow("docs"), ...await filesBelow("examples")];
  const pages = [
    ...documents.filter((file) => file.endsWith(".md")),
    ...["README.md", "CONTRIBUTING.md", "bench/README.md", ".github/SECURITY.md"],
    ...ENTRIES,
  ];
  const problems: string[] = [];
  let links = 0;
  for (const page of pages) {
    const text = await Deno.readTextFile(join(ROOT, page));
    for (const [, link] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      links++;
      const problem = await problemOf(page, link);
      if (problem !== null) problems.push(problem);
    }
  }
  assertEquals(problems, []);
  assert(links > 50);
});

Deno.test("links of the README and the entries are absolute, as JSR shows these pages too", async () => {
  for (const page of ["README.md", ...ENTRIES]) {
    const text = await Deno.readTextFile(join(ROOT, page));
    for (const [, link] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      assert(link.startsWith("https://"), `${page}: ${link}`);
    }
  }
});
