/** Files through `node:fs`, in Node.js and Bun. */

import { createOwnership } from "./node_ownership.ts";
import type { FileInfo, Files, OpenFile, OpenMode } from "./types.ts";

const FLAGS: Readonly<Record<OpenMode, string>> = { read: "r", create: "wx", update: "r+" };

type NodeFs = ReturnType<typeof nodeFs>;
type FileHandle = Awaited<ReturnType<NodeFs["open"]>>;
type Stats = Awaited<ReturnType<FileHandle["stat"]>>;

/** The promises of `node:fs`, loaded when they are needed: bundlers for browsers see no import. */
const nodeFs = () => process.getBuiltinModule("node:fs").promises;

/** An open file, with its handle. */
export class NodeFile implements OpenFile {
  /** Where the next read begins; null for where the last one ended. */
  #at: number | null = null;

  /** @param handle The handle that `node:fs` gave. */
  constructor(readonly handle: FileHandle) {}

  /** Reads from where the last call ended, or from where `seek` has moved to; null at the end. */
  async read(into: Uint8Array): Promise<number | null> {
    const { bytesRead } = await this.handle.read(into, 0, into.length, this.#at);
    if (this.#at !== null) this.#at += bytesRead;
    return bytesRead === 0 && into.length > 0 ? null : bytesRead;
  }

  /** Moves to a byte of a file that was opened to be read. */
  seek(to: number): Promise<void> {
    this.#at = to;
    return Promise.resolve();
  }

  /** Writes some bytes, and returns how many. */
  async write(bytes: Uint8Array): Promise<number> {
    return (await this.handle.write(bytes, 0, bytes.length, null)).bytesWritten;
  }

  /** What it is. */
  async stat(): Promise<FileInfo> {
    return infoOf(await this.handle.stat());
  }

  /** Makes what was written durable. */
  sync(): Promise<void> {
    return this.handle.sync();
  }

  /** Closes it. */
  close(): Promise<void> {
    return this.handle.close();
  }
}

let made: Files | undefined;

/** The system's files. */
export function nodeFiles(): Files {
  return made ??= createFiles(nodeFs());
}

function createFiles(fs: NodeFs): Files {
  return {
    ownership: createOwnership(),
    stat: async (path) => infoOf(await fs.stat(path)),
    lstat: async (path) => infoOf(await fs.lstat(path)),
    open: async (path, mode) => new NodeFile(await fs.open(path, FLAGS[mode])),
    rename: (from, to) => fs.rename(from, to),
    remove: async (path) =>
      await ((await fs.lstat(path)).isDirectory() ? fs.rmdir(path) : fs.unlink(path)),
    chmod: (path, mode) => fs.chmod(path, mode),
    makeFolder: async (path) => void await fs.mkdir(path, { recursive: true }),
    list: (folder) => fs.readdir(folder),
    realPath: (path) => fs.realpath(path),
    readLink: (path) => fs.readlink(path),
    isSystemError: (error) => error instanceof Error && "errno" in error && "code" in error,
    isNotFound: (error) => (error as { code?: unknown } | null)?.code === "ENOENT",
  };
}

function infoOf(stats: Stats): FileInfo {
  const [size, mode] = [Number(stats.size), Number(stats.mode)];
  return {
    ...{ isFile: stats.isFile(), isDirectory: stats.isDirectory() },
    ...{ isSymlink: stats.isSymbolicLink(), size, mode },
  };
}
