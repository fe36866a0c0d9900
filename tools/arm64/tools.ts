/** Finds what builds for 64-bit ARM and runs the result: installed, or from Debian's packages. */

import { join } from "@std/path/join";
import { outputOf } from "../stage.ts";
import { unpack } from "./packages.ts";

/** The platform. */
export const TARGET = "aarch64-unknown-linux-gnu";

const TRIPLE = "aarch64-linux-gnu";
const PREFIX = `CARGO_TARGET_${TARGET.toUpperCase().replaceAll("-", "_")}`;

/** What cargo runs with. */
export interface Tools {
  readonly env: Readonly<Record<string, string>>;
  /** Where each tool comes from, for the reader of the output. */
  readonly about: readonly string[];
}

/** What is installed; what is not is undefined. */
interface Installed {
  readonly hasStd: boolean;
  readonly hasLinker: boolean;
  readonly qemu: string | undefined;
}

/**
 * Finds the tools. What is missing is taken from Debian's packages and put into the folder.
 *
 * @throws {Error} If something is missing that cannot be had here, with what to install.
 */
export async function findTools(folder: string): Promise<Tools> {
  if (Deno.build.os !== "linux") {
    throw new Error(
      `qemu runs programs of Linux on Linux: run test:arm64 there, not on ${Deno.build.os}`,
    );
  }
  if (Deno.build.arch === "aarch64") {
    throw new Error("This machine is a 64-bit ARM: deno task test runs all tests on it");
  }
  if (await outputOf("cargo", "--version") === undefined) {
    throw new Error("There is no cargo here: install Rust with rustup (https://rustup.rs)");
  }
  const installed = await look();
  const { hasStd, hasLinker, qemu } = installed;
  if (hasStd && hasLinker && qemu !== undefined) return useInstalled(qemu);
  return useUnpacked(await unpack(join(folder, "debian"), missingWords(installed)));
}

async function look(): Promise<Installed> {
  const libraries = await outputOf("rustc", "--print", "target-libdir", "--target", TARGET);
  const names = libraries === undefined
    ? []
    : await Array.fromAsync(Deno.readDir(libraries)).catch(() => []);
  let qemu: string | undefined;
  for (const name of ["qemu-aarch64-static", "qemu-aarch64"]) {
    if (qemu === undefined && await outputOf(name, "--version") !== undefined) qemu = name;
  }
  return {
    hasStd: names.length > 0,
    hasLinker: await outputOf(`${TRIPLE}-gcc`, "--version") !== undefined,
    qemu,
  };
}

/** What to install by hand. */
function missingWords({ hasStd, hasLinker, qemu }: Installed): string {
  const packages = [
    ...(hasLinker ? [] : [`gcc-${TRIPLE}`, "libc6-dev-arm64-cross"]),
    ...(qemu === undefined ? ["qemu-user-static"] : []),
  ];
  return [
    ...(hasStd ? [] : [`rustup target add ${TARGET}`]),
    ...(packages.length === 0 ? [] : [`apt-get install ${packages.join(" ")}`]),
  ].join("; ");
}

function useInstalled(qemu: string): Tools {
  return {
    env: {
      [`${PREFIX}_LINKER`]: `${TRIPLE}-gcc`,
      [`${PREFIX}_RUNNER`]: `${qemu} -L /usr/${TRIPLE}`,
    },
    about: [`Rust, ${TRIPLE}-gcc and ${qemu} as they are installed`],
  };
}

/** All of it together, as the standard library has to be of the same version as the compiler. */
function useUnpacked(root: string): Tools {
  const bin = join(root, "usr", "bin");
  // Scripts of the linker name libraries by absolute paths.
  const flags = `-Clink-arg=-Wl,--sysroot=${root}`;
  return {
    env: {
      LD_LIBRARY_PATH: join(root, "usr", "lib", "x86_64-linux-gnu"),
      RUSTC: join(bin, "rustc"),
      RUSTDOC: join(bin, "rustdoc"),
      [`${PREFIX}_LINKER`]: join(bin, `${TRIPLE}-gcc`),
      [`${PREFIX}_RUSTFLAGS`]: flags,
      [`${PREFIX}_RUSTDOCFLAGS`]: flags,
      [`${PREFIX}_RUNNER`]: `${join(bin, "qemu-aarch64-static")} -L ${join(root, "usr", TRIPLE)}`,
    },
    about: [`Rust, gcc and qemu of Debian's packages, unpacked in ${root}`],
  };
}
