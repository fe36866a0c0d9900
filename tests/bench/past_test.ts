/** `deno task bench:history` walks over past commits, measures each with its own bench, and resumes. */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { fromFileUrl } from "@std/path/from-file-url";
import { parseHistory } from "../../bench/history/entries.ts";

const SCRIPT = fromFileUrl(new URL("../../bench/history.ts", import.meta.url));
const ROW = "2 x 10: js, plain, float32, foreach true";

/** A bench that "measures" the number in `src/ratio`, and writes down that it ran. */
const BENCH = `
const at = (flag: string) => Deno.args[Deno.args.indexOf(flag) + 1];
const ratio = Number(Deno.readTextFileSync(new URL("../src/ratio", import.meta.url)));
const quiet = { othersCores: 0, spread: 0 };
const figures = [{ row: "${ROW}", reference: "scalar loop", ratio, ...quiet }];
JSON.parse(Deno.readTextFileSync(at("--baseline")));
Deno.writeTextFileSync(at("--out"), JSON.stringify({ figures }));
console.log("ran", ratio);
`;

class Repository {
  constructor(readonly folder: string) {}

  async git(...args: string[]): Promise<string> {
    const { success, stdout, stderr } = await new Deno.Command("git", {
      args: ["-c", "user.name=a", "-c", "user.email=a@b.c", ...args],
      cwd: this.folder,
      env: { GIT_CONFIG_GLOBAL: "/dev/null", GIT_CONFIG_SYSTEM: "/dev/null" },
    }).output();
    assert(success, new TextDecoder().decode(stderr));
    return new TextDecoder().decode(stdout).trim();
  }

  async commit(subject: string, files: Record<string, string>): Promise<void> {
    for (const [path, text] of Object.entries(files)) {
      const file = `${this.folder}/${path}`;
      await Deno.mkdir(file.slice(0, file.lastIndexOf("/")), { recursive: true });
      await Deno.writeTextFile(file, text);
    }
    await this.git("add", "--all");
    await this.git("commit", "--quiet", "--message", subject);
  }

  /** Runs the tool on the repository, its history beside it. */
  async run(...args: string[]) {
    const files = ["--history", `${this.folder}.jsonl`, "--chart", `${this.folder}.svg`];
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-q", "--no-check", "-A", SCRIPT, "--root", this.folder, ...files, ...args],
      env: { NO_COLOR: "1" },
    }).output();
    const text = new TextDecoder();
    return { code, out: text.decode(stdout), err: text.decode(stderr) };
  }

  /** Subjects and ratios of the history's lines. */
  async lines(): Promise<[string, number][]> {
    const history = parseHistory(await Deno.readTextFile(`${this.folder}.jsonl`));
    return history.map(({ subject, rows }) => [subject, rows[ROW].ratio]);
  }
}

function tasks(build: string): string {
  return JSON.stringify({ tasks: { build } });
}

async function withRepository(body: (repository: Repository) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    const repository = new Repository(`${folder}/repository`);
    await Deno.mkdir(repository.folder);
    await repository.git("init", "--quiet");
    await body(repository);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function fill(repository: Repository): Promise<void> {
  await repository.commit("no bench", { "deno.json": tasks("echo built"), "src/ratio": "1" });
  await repository.commit("first", { "bench/compare.ts": BENCH, "src/ratio": "2" });
  await repository.commit("docs only", { "README.md": "text" });
  await repository.commit("does not build", { "deno.json": tasks("exit 1") });
  await repository.commit("bench fails", {
    "deno.json": tasks("echo built"),
    "bench/compare.ts": "Deno.exit(1)",
  });
  await repository.commit("other figures", {
    "src/ratio": "3",
    "bench/compare.ts": BENCH.replace("ratio, ...quiet", "time: ratio"),
  });
  await repository.commit("second", { "src/ratio": "4", "bench/compare.ts": BENCH });
}

Deno.test("past commits are measured in order, and those that cannot be are named and skipped", async () => {
  await withRepository(async (repository) => {
    await fill(repository);
    const { code, out, err } = await repository.run("--since", "HEAD~6", "--runs", "2");
    assertEquals(code, 0, out + err);
    assertEquals(await repository.lines(), [["first", 2], ["second", 4]]);
    assertMatch(out, /^Skipped \w{7} as it has no bench\/compare\.ts$/m);
    assertMatch(out, /^Skipped \w{7} as it does not build$/m);
    assertMatch(out, /^Skipped \w{7} as its bench\/compare\.ts failed$/m);
    assertMatch(out, /^Skipped \w{7} as its bench\/compare\.ts writes no rows with a reference/m);
    assertEquals(out.match(/^ran 2$/gm)?.length, 2);
    assert(!out.includes("docs only"));
    assertMatch(out, /^ {2}2 x 10: .*: 2\.00 -> 4\.00 \(\+100 %, not confirmed yet\)$/m);
    assertStringIncludes(await Deno.readTextFile(`${repository.folder}.svg`), "<svg");
    assertEquals(
      await repository.git("worktree", "list", "--porcelain").then((list) =>
        list.match(/^worktree /gm)?.length
      ),
      1,
    );
  });
});

Deno.test("what the history has is not measured again, and what it lacks is filled in", async () => {
  await withRepository(async (repository) => {
    await fill(repository);
    await repository.run("--since", "HEAD", "--runs", "1");
    assertEquals(await repository.lines(), [["second", 4]]);
    const { out } = await repository.run("--since", "HEAD~5", "--runs", "1");
    assertEquals(await repository.lines(), [["second", 4], ["first", 2]]);
    assertMatch(out, /^The history has \w{7} on this processor already$/m);
    assert(!/^ran 4$/m.test(out));
    const { out: drawn } = await repository.run("--draw");
    assert(!/^ran /m.test(drawn));
  });
});

Deno.test("the commit that is checked out is measured in place, and refused if files differ", async () => {
  await withRepository(async (repository) => {
    await fill(repository);
    await Deno.writeTextFile(`${repository.folder}/src/ratio`, "9");
    const { code, err } = await repository.run();
    assertEquals(code, 2);
    assertMatch(err, /^Cannot record a run for \w{7} as these files differ from it: src\/ratio$/m);
    await repository.git("checkout", "--quiet", "src/ratio");
    await Deno.writeTextFile(`${repository.folder}/README.md`, "other text");
    assertEquals((await repository.run("--runs", "1")).code, 0);
    assertEquals(await repository.lines(), [["second", 4]]);
  });
});
