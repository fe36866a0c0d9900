/** What the package needs of a file system. */

/** What there is under a path. */
export interface FileInfo {
  readonly isFile: boolean;
  readonly isDirectory: boolean;
  readonly isSymlink: boolean;
  /** Bytes of a file. */
  readonly size: number;
  /** The permission bits; null where there are none. */
  readonly mode: number | null;
}

/** How a file is opened: to be read, to be made, or one that is there to be locked. */
export type OpenMode = "read" | "create" | "update";

/** An open file. */
export interface OpenFile {
  /** Reads from where the last call ended, or from where `seek` has moved to; null at the end. */
  read(into: Uint8Array): Promise<number | null>;
  /** Moves to a byte of a file that was opened to be read. */
  seek(to: number): Promise<void>;
  /** Writes some bytes, and returns how many. */
  write(bytes: Uint8Array): Promise<number>;
  /** What it is. */
  stat(): Promise<FileInfo>;
  /** Makes what was written durable. */
  sync(): Promise<void>;
  /** Closes it. */
  close(): Promise<void>;
}

/**
 * Tells temporary files that a running process writes from those that a killed one left: by locks
 * where a runtime has them, by their names where it has none.
 */
export interface Ownership {
  /** What the names of temporary files end with. */
  readonly suffix: string;
  /** A name's middle part, between prefix and suffix, that no other file has. */
  uniquePart(): string;
  /** Takes a file that has just been made. False if another process takes it for a leftover. */
  claim(file: OpenFile): Promise<boolean>;
  /** Whether the process that made a file has ended. `middle` is the part of its name. */
  isLeftover(file: OpenFile, middle: string): Promise<boolean>;
}

/** The functions of a system. A path is absolute. Errors are the runtime's own. */
export interface Files {
  readonly ownership: Ownership;
  stat(path: string): Promise<FileInfo>;
  /** As `stat`, of a link itself. */
  lstat(path: string): Promise<FileInfo>;
  /** Opens a file, or to read and sync it a folder. One that is to be made must not be there. */
  open(path: string, mode: OpenMode): Promise<OpenFile>;
  rename(from: string, to: string): Promise<void>;
  /** Removes a file or an empty folder. */
  remove(path: string): Promise<void>;
  chmod(path: string, mode: number): Promise<void>;
  /** Makes a folder and those that it is in. */
  makeFolder(path: string): Promise<void>;
  /** The names in a folder. */
  list(folder: string): Promise<string[]>;
  realPath(path: string): Promise<string>;
  readLink(path: string): Promise<string>;
  /** Whether an error is the system's: not one of a permission of Deno's, and not a mistake. */
  isSystemError(error: unknown): boolean;
  /** Whether an error says that there is nothing under a path. */
  isNotFound(error: unknown): boolean;
}
