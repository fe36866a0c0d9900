/** Files through Deno's API. */

import type { Files, OpenFile, OpenMode } from "./types.ts";

const SUFFIX = ".descent-tmp";

const MODES: Readonly<Record<OpenMode, Deno.OpenOptions>> = {
  read: { read: true },
  create: { write: true, createNew: true },
  update: { read: true, write: true },
};

/** An open file, with the file that can be locked. */
class DenoFile implements OpenFile {
  constructor(readonly file: Deno.FsFile) {}

  read(into: Uint8Array): Promise<number | null> {
    return this.file.read(into);
  }

  async seek(to: number): Promise<void> {
    await this.file.seek(to, Deno.SeekMode.Start);
  }

  write(bytes: Uint8Array): Promise<number> {
    return this.file.write(bytes);
  }

  stat(): Promise<Deno.FileInfo> {
    return this.file.stat();
  }

  sync(): Promise<void> {
    return this.file.sync();
  }

  close(): Promise<void> {
    this.file.close();
    return Promise.resolve();
  }
}

/** The system's files. The lock of a temporary file is released however its process ends. */
export const denoFiles: Files = {
  ownership: {
    suffix: SUFFIX,
    uniquePart: () => crypto.randomUUID(),
    claim: async (file) => await lock(file) !== "taken",
    isLeftover: async (file) => await lock(file) === "held",
  },
  stat: (path) => Deno.stat(path),
  lstat: (path) => Deno.lstat(path),
  open: async (path, mode) => new DenoFile(await Deno.open(path, MODES[mode])),
  rename: (from, to) => Deno.rename(from, to),
  remove: (path) => Deno.remove(path),
  chmod: (path, mode) => Deno.chmod(path, mode),
  makeFolder: (path) => Deno.mkdir(path, { recursive: true }),
  list: async (folder) => (await Array.fromAsync(Deno.readDir(folder))).map(({ name }) => name),
  realPath: (path) => Deno.realPath(path),
  readLink: (path) => Deno.readLink(path),
  isSystemError(error: unknown): boolean {
    if (!(error instanceof Error) || error instanceof Deno.errors.NotCapable) return false;
    return "code" in error || Object.values(Deno.errors).some((type) => error instanceof type);
  },
  isNotFound: (error) => error instanceof Deno.errors.NotFound,
};

/** Locks a file without waiting. Some network file systems have no locks. */
async function lock(file: OpenFile): Promise<"held" | "taken" | "unavailable"> {
  try {
    return await (file as DenoFile).file.tryLock(true) ? "held" : "taken";
  } catch {
    return "unavailable";
  }
}
