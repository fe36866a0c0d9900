/** Looks at a file without waiting: what it is, and bytes of it. */

/** What is under a path. */
export interface Found {
  readonly kind: "a file" | "a folder" | "a pipe" | "a socket" | "a device";
  /** Bytes of a file. */
  readonly size: number;
}

/** Reads some bytes of a file; fewer at its end. */
export type ReadAt = (at: number, length: number) => DataView;

/** What is under a path; null if nothing is. Throws if it cannot be looked at. */
export function probe(path: string): Found | null {
  try {
    return typeof Deno === "undefined" ? probeWithNode(path) : probeWithDeno(path);
  } catch (error) {
    if (isMissing(error)) return null;
    throw error;
  }
}

function isMissing(error: unknown): boolean {
  if (typeof Deno === "undefined") {
    return /^(ENOENT|ENOTDIR)$/.test(String((error as { code?: unknown }).code));
  }
  return error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory;
}

function probeWithDeno(path: string): Found {
  const { isFile, isDirectory, isFifo, isSocket, size } = Deno.statSync(path);
  return { kind: kindOf(isFile, isDirectory, isFifo ?? false, isSocket ?? false), size };
}

function probeWithNode(path: string): Found {
  const stats = nodeFs().statSync(path);
  const { size } = stats;
  return {
    kind: kindOf(stats.isFile(), stats.isDirectory(), stats.isFIFO(), stats.isSocket()),
    size,
  };
}

function kindOf(isFile: boolean, isFolder: boolean, isPipe: boolean, isSocket: boolean) {
  if (isFile) return "a file";
  if (isFolder) return "a folder";
  if (isPipe) return "a pipe";
  return isSocket ? "a socket" : "a device";
}

/** Opens a file for the time of a function that reads from it. */
export function withFile<T>(path: string, use: (read: ReadAt) => T): T {
  const { readInto, close } = typeof Deno === "undefined" ? openWithNode(path) : openWithDeno(path);
  try {
    return use((at, length) => {
      if (!Number.isSafeInteger(at)) return new DataView(new ArrayBuffer(0));
      const bytes = new Uint8Array(length);
      let done = 0;
      while (done < length) {
        const count = readInto(bytes.subarray(done), at + done);
        if (count === 0) break;
        done += count;
      }
      return new DataView(bytes.buffer, 0, done);
    });
  } finally {
    close();
  }
}

function openWithDeno(path: string) {
  const file = Deno.openSync(path, { read: true });
  return {
    readInto(bytes: Uint8Array, at: number): number {
      file.seekSync(at, Deno.SeekMode.Start);
      return file.readSync(bytes) ?? 0;
    },
    close: () => file.close(),
  };
}

function openWithNode(path: string) {
  const fs = nodeFs();
  const file = fs.openSync(path, "r");
  return {
    readInto: (bytes: Uint8Array, at: number) => fs.readSync(file, bytes, 0, bytes.length, at),
    close: () => fs.closeSync(file),
  };
}

/** All bytes of a file. */
export function readWhole(path: string): Uint8Array {
  return typeof Deno === "undefined" ? nodeFs().readFileSync(path) : Deno.readFileSync(path);
}

/** `node:fs`, loaded when it is needed: bundlers for browsers would look for an import. */
function nodeFs() {
  return process.getBuiltinModule("node:fs");
}
