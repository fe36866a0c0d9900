/** Reads a released library from the network or a folder, and lets through only what was released. */

import type { ReleasedFile } from "../native/release.ts";
import { KernelInstallError } from "./error.ts";

/** How far a download is. */
export interface InstallProgress {
  /** Bytes received so far. */
  readonly received: number;
  /** Bytes in all. */
  readonly total: number;
}

/**
 * Reads a library and checks its size and SHA-256.
 *
 * @throws {KernelInstallError} If it cannot be read, or is not the released file.
 */
export async function readReleased(
  url: URL,
  file: ReleasedFile,
  onProgress: (progress: InstallProgress) => void,
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = await collect(url, await open(url), file.size, onProgress);
  const sha256 = await hash(bytes);
  if (sha256 !== file.sha256) {
    throw refuse(url, `its SHA-256 must be ${file.sha256}: current value is ${sha256}`);
  }
  return bytes;
}

/** The SHA-256 of some bytes, in lower-case hexadecimal. */
export async function hash(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}

type Body = ReadableStream<Uint8Array>;

async function open(url: URL): Promise<Body> {
  if (url.protocol === "file:") return await openFile(url);
  const response = await request(url);
  const type = response.headers.get("content-type") ?? "";
  if (response.ok && response.body !== null && !type.startsWith("text/html")) return response.body;
  await response.body?.cancel();
  throw refuse(
    url,
    response.ok
      ? `the answer is a web page (${type}), not a library: a proxy or a login page may stand between`
      : `the server answered ${response.status} ${response.statusText}`.trimEnd(),
  );
}

async function openFile(url: URL): Promise<Body> {
  try {
    return (await Deno.open(url)).readable;
  } catch (cause) {
    throw refuse(url, `the file cannot be read: ${message(cause)}`, cause);
  }
}

async function request(url: URL): Promise<Response> {
  try {
    return await fetch(url);
  } catch (cause) {
    const advice = "without a network, use --from with a folder or a mirror";
    throw refuse(url, `the server cannot be reached (${advice}): ${message(cause)}`, cause);
  }
}

async function collect(
  url: URL,
  body: Body,
  total: number,
  onProgress: (progress: InstallProgress) => void,
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(total);
  let received = 0;
  try {
    for await (const chunk of body) {
      if (received + chunk.length > total) throw refuse(url, `it is longer than ${total} bytes`);
      bytes.set(chunk, received);
      received += chunk.length;
      onProgress({ received, total });
    }
  } catch (cause) {
    if (cause instanceof KernelInstallError) throw cause;
    const why = `the download broke off after ${received} of ${total} bytes: ${message(cause)}`;
    throw refuse(url, why, cause);
  }
  if (received < total) throw refuse(url, `it ends after ${received} of ${total} bytes`);
  return bytes;
}

function refuse(url: URL, why: string, cause?: unknown): KernelInstallError {
  return new KernelInstallError(`Cannot install ${url} as ${why}`, { cause });
}

/** What an error says, and what its cause says: `fetch` keeps the reason there. */
function message(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message;
}
