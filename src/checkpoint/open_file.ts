/** Opens files that are to be read. */

import { files } from "../files/files.ts";
import type { OpenFile } from "../files/files.ts";
import { unreadable } from "./errors.ts";

/** A file that is open to be read. */
export interface OpenedFile {
  readonly file: OpenFile;
  /** Bytes that it had when it was opened. */
  readonly size: number;
}

/**
 * Opens a file; the caller closes it.
 *
 * @param path The absolute path.
 * @throws {CheckpointError} If there is something else, such as a folder or a pipe.
 */
export async function openFile(path: string): Promise<OpenedFile> {
  // Opening a pipe would wait for its other end; one that takes the file's place after this look
  // still does.
  if (!(await files().stat(path)).isFile) throw irregular();
  const file = await files().open(path, "read");
  try {
    const { isFile, size } = await file.stat();
    if (!isFile) throw irregular();
    return { file, size };
  } catch (error) {
    await file.close();
    throw error;
  }
}

function irregular(): Error {
  return unreadable("it is not a regular file");
}
