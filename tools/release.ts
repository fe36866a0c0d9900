/**
 * Makes a release: `deno task release` builds the libraries of this platform into `dist`, and
 * `deno task release publish` publishes the package with the libraries of all platforms.
 */

import { parseArgs } from "@std/cli/parse-args";
import { join } from "@std/path/join";
import { PLATFORMS } from "../src/native/release.ts";
import { VERSION } from "../src/core/version.ts";
import { buildLibraries } from "./release/build.ts";
import { packForNpm } from "./release/npm.ts";
import { writeChecksums } from "./release/checksums.ts";

const ROOT = join(import.meta.dirname!, "..");
const DIST = join(ROOT, "dist");

/** The npm package; one that has the checksums of all platforms is made by `publish`. */
const TARBALL = join(DIST, `descent-sgd-${VERSION}.tgz`);

const USAGE =
  `deno task release                      build this platform's libraries into dist, and the npm
                                       package
deno task release --glibc 2.28         the same; fail if they need a newer glibc
deno task release publish [--dry-run]  put the checksums of dist into the package, attach dist to the
                                       release v${VERSION} on GitHub and publish on npm and JSR`;

async function build(maxGlibc: string | undefined): Promise<void> {
  const libraries = await buildLibraries(DIST, maxGlibc);
  for (const { name, size, glibc } of libraries) {
    const needs = glibc === undefined ? "" : `, needs glibc ${glibc}`;
    console.log(`${name}: ${(size / 1e6).toFixed(2)} MB${needs}`);
  }
  await packForNpm(TARBALL, ROOT);
  console.log(`The npm package: ${TARBALL}`);
  const [full, cpuOnly] = libraries.map(({ size }) => size);
  console.log(`The GPU path takes ${((full - cpuOnly) / 1e6).toFixed(2)} MB of it`);
}

async function publish(dryRun: boolean): Promise<void> {
  const names = await writeChecksums({
    dist: DIST,
    root: ROOT,
    version: VERSION,
    platforms: PLATFORMS,
  });
  const files = names.flatMap((name) => [name, `${name}.sha256`]).map((name) => join(DIST, name));
  const tag = `v${VERSION}`;
  // The files come first, so that everybody who gets the package can install.
  if (!dryRun) {
    await run("gh", ["release", "create", tag, "--verify-tag", "--generate-notes", ...files]);
  }
  // --allow-dirty: the checksums are written for the package and never committed.
  const flags = dryRun ? ["--dry-run"] : [];
  await packForNpm(TARBALL, ROOT);
  if (!dryRun) await run("npm", ["publish", "--access", "public", TARBALL]);
  await run(Deno.execPath(), ["publish", "--allow-dirty", ...flags]);
}

async function run(program: string, args: readonly string[]): Promise<void> {
  const { code } = await new Deno.Command(program, { args: [...args], cwd: ROOT }).spawn().status;
  if (code !== 0) throw new Error(`Cannot release: ${program} ${args[0]} failed with code ${code}`);
}

function main(): Promise<void> {
  const { _: [command], ...options } = parseArgs(Deno.args, {
    string: ["glibc"],
    boolean: ["dry-run", "help"],
    unknown: (name: string, key?: string) => {
      if (key !== undefined) throw new Error(`There is no option ${name}\n\n${USAGE}`);
    },
  });
  if (options.help) return Promise.resolve(console.log(USAGE));
  if (command === undefined) return build(options.glibc);
  if (command === "publish") return publish(options["dry-run"]);
  throw new Error(`There is no command ${command}\n\n${USAGE}`);
}

if (import.meta.main) {
  try {
    await main();
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    Deno.exit(1);
  }
}
