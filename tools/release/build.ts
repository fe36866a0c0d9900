/** Builds the libraries of a release for this platform. */

import { join } from "@std/path/join";
import { builtName, releasedName } from "../../src/native/release.ts";
import { VERSION } from "../../src/core/version.ts";
import { sha256File } from "./checksums.ts";

const KERNELS = join(import.meta.dirname!, "..", "..", "kernels");

/** A library as it goes into a release. */
export interface BuiltLibrary {
  readonly name: string;
  /** Size in bytes. */
  readonly size: number;
  /** The oldest glibc that it runs with; undefined where there is none. */
  readonly glibc: string | undefined;
}

/**
 * Builds the full library and the one without the GPU path, and puts each into a folder with its
 * SHA-256 beside it.
 *
 * @throws {Error} If a build fails, or needs a newer glibc than it may.
 */
export async function buildLibraries(dist: string, maxGlibc?: string): Promise<BuiltLibrary[]> {
  await Deno.mkdir(dist, { recursive: true });
  const libraries: BuiltLibrary[] = [];
  for (const cpuOnly of [false, true]) {
    const name = releasedName(VERSION, Deno.build, cpuOnly);
    const path = join(dist, name);
    await Deno.copyFile(await buildLibrary(cpuOnly), path);
    const bytes = await Deno.readFile(path);
    const glibc = neededGlibc(bytes);
    if (maxGlibc !== undefined && isNewer(glibc, maxGlibc)) {
      throw new Error(`Cannot release ${name} as it may need glibc ${maxGlibc}: it needs ${glibc}`);
    }
    await Deno.writeTextFile(`${path}.sha256`, `${await sha256File(path)}  ${name}\n`);
    libraries.push({ name, size: bytes.length, glibc });
  }
  return libraries;
}

/** The newest glibc symbol version that a library names, such as `2.28`. */
export function neededGlibc(library: Uint8Array): string | undefined {
  const text = new TextDecoder("latin1").decode(library);
  const versions = [...text.matchAll(/\0GLIBC_(\d+\.\d+)(?:\.\d+)?(?=\0)/g)].map(([, v]) => v);
  return versions.reduce<string | undefined>((a, b) => isNewer(b, a) ? b : a, undefined);
}

function isNewer(version: string | undefined, than = "0.0"): boolean {
  if (version === undefined) return false;
  const [[major, minor], [thanMajor, thanMinor]] = [version, than].map((v) =>
    v.split(".").map(Number)
  );
  return major > thanMajor || major === thanMajor && minor > thanMinor;
}

/** Each variant has a target folder of its own, so that neither build throws the other away. */
async function buildLibrary(cpuOnly: boolean): Promise<string> {
  const target = join(KERNELS, "target", cpuOnly ? "cpu-only" : "");
  const { code } = await new Deno.Command("cargo", {
    args: [
      ...["build", "--release", "--locked", "--quiet", "--target-dir", target],
      ...["--manifest-path", join(KERNELS, "Cargo.toml")],
      ...(cpuOnly ? ["--no-default-features"] : []),
    ],
    env: platformEnv(),
  }).spawn().status;
  if (code !== 0) throw new Error(`Cannot build the library: cargo failed with code ${code}`);
  return join(target, "release", builtName(Deno.build.os));
}

function platformEnv(): Record<string, string> {
  if (Deno.build.os === "darwin") return { MACOSX_DEPLOYMENT_TARGET: "11.0" };
  // Otherwise users would have to install Microsoft's C runtime.
  if (Deno.build.os === "windows") return { RUSTFLAGS: "-C target-feature=+crt-static" };
  return {};
}
