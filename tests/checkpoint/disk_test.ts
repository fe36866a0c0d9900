/** Disks that are full or must not be written. Needs a file system of its own: Linux, as root. */

import { assertEquals, assertRejects } from "@std/assert";
import { CheckpointError, loadState, saveState } from "@descent/sgd";
import type { StateDict } from "@descent/sgd";
import { leftoverOf } from "./process.ts";

const LEFT = await leftoverOf("run");

function mount(args: string[]): boolean {
  if (Deno.build.os !== "linux") return false;
  try {
    return new Deno.Command("mount", { args, stderr: "null" }).outputSync().success;
  } catch {
    return false;
  }
}

function unmount(folder: string): boolean {
  return new Deno.Command("umount", { args: [folder] }).outputSync().success;
}

const probe = Deno.makeTempDirSync();
const canMount = mount(["-t", "tmpfs", "tmpfs", probe]) && unmount(probe);
Deno.removeSync(probe);

function dictOf(length: number, value: number): StateDict {
  const group = { lr: 0.1, momentum: 0.9, dampening: 0, weight_decay: 0, params: [0] };
  return {
    state: { 0: { momentum_buffer: new Float32Array(length).fill(value) } },
    param_groups: [group],
  };
}

/** Runs a test in a file system of one MiB; skips it where none can be mounted. */
function test(name: string, run: (folder: string) => Promise<void>) {
  Deno.test({
    name: canMount ? name : `${name} (skipped: file systems cannot be mounted here)`,
    ignore: !canMount,
    async fn() {
      const folder = await Deno.makeTempDir();
      mount(["-t", "tmpfs", "-o", "size=1m", "tmpfs", folder]);
      try {
        await run(folder);
      } finally {
        unmount(folder);
        await Deno.remove(folder);
      }
    },
  });
}

function filesIn(folder: string): string[] {
  return [...Deno.readDirSync(folder)].map(({ name }) => name);
}

test("a full disk is named as the reason, and the old file stays alone", async (folder) => {
  const path = `${folder}/run`;
  const small = dictOf(10_000, 1);
  await saveState(path, small);
  for (let i = 0; i < 3; i++) {
    await assertRejects(
      () => saveState(path, dictOf(1_000_000, 2)),
      CheckpointError,
      `Cannot save ${path}: No space left on device`,
    );
    assertEquals(filesIn(folder), ["run"]);
  }
  assertEquals(await loadState(path), small);
  await saveState(path, dictOf(10_000, 3));
});

test("what a killed process left gives its space back before it is needed", async (folder) => {
  const path = `${folder}/run`;
  await Deno.writeFile(`${folder}/${LEFT}`, new Uint8Array(900_000));
  await saveState(path, dictOf(100_000, 1));
  assertEquals(filesIn(folder), ["run"]);
});

test("a folder that is read-only is named as the reason, and files load from it", async (folder) => {
  const path = `${folder}/run`;
  const dict = dictOf(10, 1);
  await saveState(path, dict);
  await Deno.writeTextFile(`${folder}/${LEFT}`, "left");
  mount(["-o", "remount,ro", folder]);
  await assertRejects(
    () => saveState(path, dictOf(10, 2)),
    CheckpointError,
    `Cannot save ${path}: Read-only file system`,
  );
  assertEquals(await loadState(path), dict);
});

/** Whether permission bits bind this user; they do not bind root. */
function areBitsBinding(): boolean {
  const folder = Deno.makeTempDirSync();
  try {
    if (Deno.build.os === "windows") return false;
    Deno.chmodSync(folder, 0o555);
    Deno.writeTextFileSync(`${folder}/a`, "");
    return false;
  } catch {
    return true;
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

const binding = areBitsBinding();

Deno.test({
  name: "a folder without write permission is named as the reason" +
    (binding ? "" : " (skipped: this user may write anywhere)"),
  ignore: !binding,
  async fn() {
    const folder = await Deno.makeTempDir();
    await Deno.chmod(folder, 0o555);
    try {
      await assertRejects(
        () => saveState(`${folder}/run`, dictOf(1, 1)),
        CheckpointError,
        "Permission denied",
      );
    } finally {
      await Deno.remove(folder);
    }
  },
});
