/** Builds the library with AddressSanitizer, and says how to run with it. */

import { join } from "@std/path/join";
import { builtName } from "../../src/native/release.ts";
import { outputOf, ROOT } from "../stage.ts";

const TARGET = join(ROOT, "out", "asan");
const REPORTS = join(TARGET, "reports");

/** How the tests run under AddressSanitizer. */
export interface Asan {
  /** The arguments of cargo. */
  readonly cargo: readonly string[];
  /** The environment of cargo. */
  readonly buildEnv: Readonly<Record<string, string>>;
  /** The environment of a Deno that loads the library. */
  readonly runEnv: Readonly<Record<"LD_PRELOAD" | "ASAN_OPTIONS" | "DENO_DESCENT_KERNELS", string>>;
  /** What was found in all processes. */
  readonly readReports: () => Promise<string[]>;
}

/**
 * Builds the library into a folder of its own.
 *
 * @throws {Error} If something is missing here, with what to install, or the build fails.
 */
export async function prepare(): Promise<Asan> {
  const host = await findHost();
  const runtime = await findRuntime();
  await Deno.remove(REPORTS, { recursive: true }).catch(() => {}); // of the last run
  await Deno.mkdir(REPORTS, { recursive: true });
  const cargo = [
    ...["--release", "--locked", "--manifest-path", "kernels/Cargo.toml"],
    // wgpu is not instrumented, and takes minutes to build.
    ...["--no-default-features", "--target", host, "--target-dir", TARGET],
  ];
  const flags = "-Zsanitizer=address";
  // RUSTC_BOOTSTRAP lets a stable compiler take the flag.
  const buildEnv = { RUSTC_BOOTSTRAP: "1", RUSTFLAGS: flags, RUSTDOCFLAGS: flags };
  const { success } = await new Deno.Command("cargo", {
    args: ["build", "--quiet", ...cargo],
    cwd: ROOT,
    env: buildEnv,
  }).spawn().status;
  if (!success) throw new Error("Cannot build the library with AddressSanitizer: cargo failed");
  return {
    ...{ cargo, buildEnv },
    runEnv: {
      LD_PRELOAD: runtime,
      // V8 leaks on purpose and handles SIGSEGV itself.
      ASAN_OPTIONS: `detect_leaks=0:handle_segv=0:log_path=${join(REPORTS, "asan")}`,
      DENO_DESCENT_KERNELS: join(TARGET, host, "release", builtName(Deno.build.os)),
    },
    readReports: () => readReports(REPORTS),
  };
}

/** The platform that rustc builds for, if it has the sanitizer for it. */
async function findHost(): Promise<string> {
  if (Deno.build.os !== "linux") {
    throw new Error(
      `AddressSanitizer cannot be put under Deno on ${Deno.build.os}: run test:asan on Linux`,
    );
  }
  const version = await outputOf("rustc", "-vV");
  const host = version?.match(/^host: (.+)$/m)?.[1];
  const folder = await outputOf("rustc", "--print", "target-libdir");
  if (await outputOf("cargo", "--version") === undefined || !host || !folder) {
    throw new Error(
      "There is no cargo or no rustc here: install Rust with rustup (https://rustup.rs)",
    );
  }
  const files = await Array.fromAsync(Deno.readDir(folder));
  if (!files.some(({ name }) => /_rt\.asan\.a$/.test(name))) {
    throw new Error(
      `This rustc comes without AddressSanitizer (no *_rt.asan.a in ${folder}): use the toolchain ` +
        "of rustup (https://rustup.rs), on x86-64 or ARM64",
    );
  }
  return host;
}

/** The library that has to be in the process before Deno starts. */
async function findRuntime(): Promise<string> {
  const path = await outputOf("gcc", "-print-file-name=libasan.so");
  if (path === undefined || !path.startsWith("/")) {
    throw new Error(
      "gcc's libasan.so is not here, which Deno has to be started with: install gcc (Debian and " +
        "Ubuntu: apt-get install gcc; Fedora: dnf install gcc libasan)",
    );
  }
  return await Deno.realPath(path);
}

async function readReports(folder: string): Promise<string[]> {
  const files = await Array.fromAsync(Deno.readDir(folder));
  const texts = files.map(({ name }) => Deno.readTextFile(join(folder, name)));
  return (await Promise.all(texts)).filter((text) => text.includes("ERROR: AddressSanitizer"));
}
