/**
 * Whose temporary files are whose, in runtimes without locks: the name of a file says which process of
 * which machine writes it. A file is a leftover if that process has ended.
 *
 * The next process may have the same number, as in a container that is restarted. Such a process
 * knows its own files by their time: it has written to none before it started.
 */

import type { Ownership } from "./types.ts";

/** Files of Deno's have another suffix: their locks cannot be seen from here. */
const SUFFIX = ".descent-node-tmp";

/** How far a file's time and the clock may be apart, in milliseconds. */
const TOLERANCE = 2_000;

/** What a name says about its writer: machine, process, and a part that is different each time. */
const MIDDLE = /^([0-9a-f]{8})-(\d+)-[0-9a-f-]{36}$/;

/** What `isLeftover` needs of an open file. */
interface WithHandle {
  readonly handle: { stat(): Promise<{ readonly mtimeMs: number }> };
}

/** The marks of this process. */
export function createOwnership(): Ownership {
  const machine = machineName();
  return {
    suffix: SUFFIX,
    uniquePart: () => `${machine}-${process.pid}-${crypto.randomUUID()}`,
    claim: () => Promise.resolve(true),
    async isLeftover(file, middle): Promise<boolean> {
      const [, writer, number] = MIDDLE.exec(middle) ?? [];
      if (writer !== machine) return false; // nothing is known about other machines
      if (Number(number) !== process.pid) return !isRunning(Number(number));
      const { mtimeMs } = await (file as unknown as WithHandle).handle.stat();
      return mtimeMs < Date.now() - 1000 * process.uptime() - TOLERANCE;
    },
  };
}

function machineName(): string {
  const { createHash } = process.getBuiltinModule("node:crypto");
  const name = process.getBuiltinModule("node:os").hostname();
  return createHash("sha256").update(name).digest("hex").slice(0, 8);
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0); // asks, and sends nothing
    return true;
  } catch (error) {
    return (error as { code?: string }).code !== "ESRCH";
  }
}
