/**
 * Builds the Rust side for 64-bit ARM and runs its tests under qemu: `deno task test:arm64`.
 *
 * It takes about three minutes, and shows that NEON has the numbers of the other SIMD levels. What is
 * needed and not installed comes from Debian's packages, unpacked below `out/arm64`.
 */

import { join } from "@std/path/join";
import { findTools, TARGET } from "./arm64/tools.ts";
import { CARGO_TESTS, finish, ROOT, runStages } from "./stage.ts";

async function main(): Promise<void> {
  const folder = join(ROOT, "out", "arm64");
  const { env, about } = await findTools(folder);
  console.log(about.join("\n"));
  const command = [
    ...["cargo", "test", "--release", "--locked", "--manifest-path", "kernels/Cargo.toml"],
    ...["--no-default-features", "--target", TARGET, "--target-dir", join(folder, "target")],
  ];
  finish(await runStages([{ name: "cargo test, on ARM64", command, env, count: CARGO_TESTS }]));
}

try {
  await main();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  Deno.exit(1);
}
