/** Puts the checksums of a release's libraries into the package. */

import { join } from "@std/path/join";
import { type Platform, type ReleasedFile, releasedName } from "../../src/native/release.ts";

/** What is released. */
export interface Release {
  /** The folder with the libraries, and a `.sha256` file beside each. */
  readonly dist: string;
  /** The package's folder. */
  readonly root: string;
  readonly version: string;
  readonly platforms: readonly Platform[];
}

/**
 * Writes `src/native/checksums.ts`.
 *
 * @returns The names of the libraries.
 * @throws {Error} If a library is missing, or is not the one that was built.
 */
export async function writeChecksums(release: Release): Promise<string[]> {
  const { dist, root, version, platforms } = release;
  const table: Record<string, ReleasedFile> = {};
  for (const platform of platforms) {
    for (const cpuOnly of [false, true]) {
      const name = releasedName(version, platform, cpuOnly);
      table[name] = await readReleasedFile(join(dist, name));
    }
  }
  const path = join(root, "src", "native", "checksums.ts");
  const source = await Deno.readTextFile(path);
  const start = source.lastIndexOf("= {");
  if (start < 0) throw new Error(`Cannot fill ${path} as it must end with a table`);
  const filled = `${source.slice(0, start)}= ${JSON.stringify(table, null, 2)};\n`;
  await Deno.writeTextFile(path, filled);
  return Object.keys(table);
}

/** The SHA-256 of a file, in lower-case hexadecimal. */
export async function sha256File(path: string): Promise<string> {
  const bytes = await Deno.readFile(path);
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}

async function readReleasedFile(path: string): Promise<ReleasedFile> {
  const sha256 = await sha256File(path);
  const [built] = (await Deno.readTextFile(`${path}.sha256`)).split(" ");
  if (built !== sha256) {
    throw new Error(
      `Cannot release ${path} as its SHA-256 was ${built}: current value is ${sha256}`,
    );
  }
  return { size: (await Deno.stat(path)).size, sha256 };
}
