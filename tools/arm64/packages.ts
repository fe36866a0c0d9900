/** Debian's packages, unpacked below a folder: nothing of the system is changed. */

import { join } from "@std/path/join";
import { outputOf } from "../stage.ts";

/** Packages whose dependencies come with them, as far as the system has not got them. */
const WITH_DEPENDENCIES = ["rustc-web", "gcc-aarch64-linux-gnu", "qemu-user-static"];
/** Packages that are enough by themselves. */
const ALONE = ["libstd-rust-web-dev:arm64", "libc6-dev-arm64-cross"];

/**
 * Downloads and unpacks the packages, once: 190 MB that become 1.1 GB.
 *
 * @param folder Where to.
 * @param byHand What to install instead, for the error.
 * @returns The folder that stands for `/`.
 * @throws {Error} If there is no apt here, or it does not have the packages.
 */
export async function unpack(folder: string, byHand: string): Promise<string> {
  const root = join(folder, "root");
  const done = join(folder, "done");
  if (await exists(done)) return root;
  const hasApt = await outputOf("apt-get", "--version") !== undefined &&
    await outputOf("dpkg-deb", "--version") !== undefined;
  if (!hasApt || Deno.build.arch !== "x86_64") {
    throw new Error(
      `Cannot build for ARM64 as tools are missing, and there are no Debian packages here: ${byHand}`,
    );
  }
  console.log(`Taking Rust, gcc and qemu for ARM64 from Debian's packages, into ${folder} ...`);
  try {
    await download(folder);
  } catch (cause) {
    throw new Error(
      `Cannot build for ARM64 as tools are missing, and apt does not have them (Debian 12 with its ` +
        `security archive does): ${byHand}\n${cause instanceof Error ? cause.message : cause}`,
      { cause },
    );
  }
  const archives = join(folder, "archives");
  for await (const { name } of Deno.readDir(archives)) {
    if (name.endsWith(".deb")) await run(["dpkg-deb", "-x", join(archives, name), root]);
  }
  await Deno.remove(archives, { recursive: true });
  await Deno.writeTextFile(done, "");
  return root;
}

/** Lets apt work in the folder, with the system's sources and both architectures. */
async function download(folder: string): Promise<void> {
  const archives = join(folder, "archives");
  await Deno.mkdir(join(archives, "partial"), { recursive: true });
  await Deno.mkdir(join(folder, "state", "lists", "partial"), { recursive: true });
  await Deno.mkdir(join(folder, "root"), { recursive: true });
  const settings: Record<string, string> = {
    "Dir::State": join(folder, "state"),
    "Dir::State::status": "/var/lib/dpkg/status",
    "Dir::Cache": folder,
    "Dir::Cache::archives": archives,
    "Debug::NoLocking": "1",
    "APT::Architectures": "amd64,arm64",
    "APT::Sandbox::User": "", // the folder need not be readable for the user _apt
  };
  const options = Object.entries(settings).flatMap(([key, value]) => ["-o", `${key}=${value}`]);
  const apt = ["apt-get", "-qq", ...options];
  await run([...apt, "update"]);
  const quiet = ["-y", "--no-install-recommends", "--download-only"];
  await run([...apt, "install", ...quiet, ...WITH_DEPENDENCIES]);
  await run([...apt, "download", ...ALONE], archives);
}

async function run([program, ...args]: readonly string[], cwd?: string): Promise<void> {
  const { success, code } = await new Deno.Command(program, { args, cwd }).spawn().status;
  if (!success) throw new Error(`${program} failed with code ${code}`);
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}
