/** A release in miniature: the publishable files with checksums of libraries, and servers for both. */

import { dirname } from "@std/path/dirname";
import { fromFileUrl } from "@std/path/from-file-url";
import { join } from "@std/path/join";
import { PLATFORMS, type ReleasedFile, releasedName } from "../../src/native/release.ts";
import { VERSION } from "../../src/core/version.ts";
import { sha256File, writeChecksums } from "../../tools/release/checksums.ts";

/** The repository. */
export const ROOT = fromFileUrl(new URL("../../", import.meta.url));

/** The entries of the package and their files, relative to the repository, from `deno.json`. */
export const ENTRIES: ReadonlyMap<string, string> = await readEntries();

async function readEntries(): Promise<Map<string, string>> {
  const { exports } = JSON.parse(await Deno.readTextFile(join(ROOT, "deno.json"))) as {
    exports: Record<string, string>;
  };
  return new Map(Object.entries(exports).map(([name, file]) => [name, file.replace("./", "")]));
}

/** This platform's entry in the list of platforms. */
export const PLATFORM = PLATFORMS.find(({ os, arch }) =>
  os === Deno.build.os && arch === Deno.build.arch
)!;

/** What a process printed, and how it ended. */
export interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs a program to its end. */
export async function run(
  program: string,
  args: readonly string[],
  options: Omit<Deno.CommandOptions, "args"> = {},
): Promise<Outcome> {
  const env = { NO_COLOR: "1", ...options.env };
  const command = new Deno.Command(program, { ...options, env, args: [...args], stdin: "null" });
  const { code, stdout, stderr } = await command.output();
  const decoder = new TextDecoder();
  return { code, out: decoder.decode(stdout), err: decoder.decode(stderr) };
}

/** The first program that ends well with some arguments; undefined if none does. */
export async function firstThatRuns(
  programs: readonly string[],
  ...args: string[]
): Promise<string | undefined> {
  for (const program of programs) {
    const { code } = await run(program, args).catch(() => ({ code: 1 }));
    if (code === 0) return program;
  }
  return undefined;
}

let dryRun: Promise<Outcome> | undefined;

/** What `deno publish --dry-run` says, once per process. */
export function dryRunPublish(): Promise<Outcome> {
  dryRun ??= run(Deno.execPath(), ["publish", "--dry-run", "--allow-dirty"], { cwd: ROOT });
  return dryRun;
}

/** The files that a publication holds, relative to the repository. */
export async function publishableFiles(): Promise<string[]> {
  const { code, out, err } = await dryRunPublish();
  if (code !== 0) throw new Error(err);
  const urls = `${out}${err}`.matchAll(/^ +(file:\S+) \(/gm);
  return Array.from(urls, ([, url]) => fromFileUrl(url).slice(ROOT.length).replaceAll("\\", "/"));
}

/** A package and its libraries, as a release would publish them. */
export interface Staged {
  readonly version: string;
  /** The folder of the package. */
  readonly root: string;
  /** The folder of the libraries. */
  readonly dist: string;
  /** The names of the two libraries, the full one and the one without the GPU path. */
  readonly names: readonly [full: string, cpuOnly: string];
}

/** Puts a package of any version and its libraries into a folder. */
export async function stage(
  folder: string,
  libraries: readonly [full: Uint8Array, cpuOnly: Uint8Array],
  version = VERSION,
): Promise<Staged> {
  const [root, dist] = [join(folder, `package-${version}`), join(folder, `dist-${version}`)];
  for (const file of await publishableFiles()) {
    await Deno.mkdir(dirname(join(root, file)), { recursive: true });
    const text = await Deno.readTextFile(join(ROOT, file));
    const hasVersion = file === "deno.json" || file === "src/core/version.ts";
    await Deno.writeTextFile(join(root, file), hasVersion ? text.replace(VERSION, version) : text);
  }
  await Deno.mkdir(dist);
  const names = [false, true].map((cpuOnly) => releasedName(version, PLATFORM, cpuOnly));
  for (const [i, name] of names.entries()) {
    await Deno.writeFile(join(dist, name), libraries[i]);
    const sha256 = await sha256File(join(dist, name));
    await Deno.writeTextFile(join(dist, `${name}.sha256`), `${sha256}  ${name}\n`);
  }
  await writeChecksums({ dist, root, version, platforms: [PLATFORM] });
  return { version, root, dist, names: [names[0], names[1]] };
}

/** The checksums of a staged package. */
export async function checksumsOf({ root }: Staged): Promise<Record<string, ReleasedFile>> {
  return (await import(`file://${root}/src/native/checksums.ts`)).CHECKSUMS;
}

/** A server on this machine. */
export interface Server extends AsyncDisposable {
  /** Where it listens, with a slash at the end. */
  readonly url: string;
}

/** Serves on a free port. */
export function serve(handler: Deno.ServeHandler): Server {
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, handler);
  return {
    url: `http://127.0.0.1:${server.addr.port}/`,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

/** Serves the files of a folder. */
export function serveFolder(folder: string): Server {
  return serve(async (request) => {
    try {
      return new Response(await Deno.readFile(join(folder, new URL(request.url).pathname)));
    } catch {
      return new Response("Not found", { status: 404 });
    }
  });
}

/** Serves packages as JSR does; packages that are added to the list later are served too. */
export function serveJsr(packages: readonly Staged[]): Server {
  return serve(async (request) => {
    const path = new URL(request.url).pathname;
    const versions = Object.fromEntries(packages.map(({ version }) => [version, {}]));
    if (path === "/@descent/sgd/meta.json") {
      const latest = packages.at(-1)!.version;
      return Response.json({ scope: "descent", name: "sgd", latest, versions });
    }
    const [, version, file] = path.match(/^\/@descent\/sgd\/(\d+\.\d+\.\d+)(_meta\.json|\/.+)$/) ??
      [];
    const staged = packages.find((candidate) => candidate.version === version);
    if (staged === undefined) return new Response("Not found", { status: 404 });
    if (file === "_meta.json") return Response.json(await versionMeta(staged));
    const type = file.endsWith(".ts") ? "text/typescript" : "application/octet-stream";
    return new Response(await Deno.readFile(staged.root + file), {
      headers: { "content-type": type },
    });
  });
}

async function versionMeta({ root }: Staged) {
  const { exports } = JSON.parse(await Deno.readTextFile(join(root, "deno.json")));
  const manifest: Record<string, { size: number; checksum: string }> = {};
  for (const file of await publishableFiles()) {
    const path = join(root, file);
    const checksum = `sha256-${await sha256File(path)}`;
    manifest[`/${file}`] = { size: (await Deno.stat(path)).size, checksum };
  }
  return { exports, manifest };
}

/** A temporary folder that goes when its scope ends. */
export async function temporaryFolder(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await Deno.realPath(await Deno.makeTempDir());
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }) };
}
