/** Reads a released library from the network or a folder, and lets through only what was released. */

import { toHex } from "../core/hex.ts";
import { cannot, mismatch } from "../core/validate.ts";
import { files } from "../files/files.ts";
import type { OpenFile } from "../files/files.ts";
import type { ReleasedFile } from "../native/release.ts";
import { KernelInstallError } from "./error.ts";
import { nodeUrl } from "./node.ts";
import { Patience } from "./patience.ts";
import { splitSecrets, withoutSecrets } from "./secrets.ts";

/**
 * The progress of a download.
 *
 * @category Install
 */
export interface InstallProgress {
  /** Bytes received so far. */
  readonly received: number;
  /** Bytes in all. */
  readonly total: number;
}

/** How a library is read. */
export interface ReadOptions {
  /** Seconds in each of which 64 KiB have to come. */
  readonly timeout: number;
  /** Called after each piece. */
  readonly onProgress: (progress: InstallProgress) => void;
}

/**
 * Reads a library and checks its size and SHA-256.
 *
 * @throws {KernelInstallError} If it cannot be read, does not come in time, or is not the released
 * file.
 */
export async function readReleased(
  url: URL,
  file: ReleasedFile,
  { timeout, onProgress }: ReadOptions,
): Promise<Uint8Array<ArrayBuffer>> {
  const source: Source = { url, total: file.size, patience: new Patience(timeout) };
  try {
    const bytes = await collect(source, await open(source), onProgress);
    const sha256 = await hash(bytes);
    if (sha256 === file.sha256) return bytes;
    throw refuse(source, mismatch(`its SHA-256 must be ${file.sha256}`, sha256));
  } finally {
    source.patience.stop();
  }
}

/** The SHA-256 of some bytes, in lower-case hexadecimal. */
export async function hash(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return toHex(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)));
}

/** Where a library comes from, and how long it is waited for. */
interface Source {
  readonly url: URL;
  /** Bytes of the released file. */
  readonly total: number;
  readonly patience: Patience;
}

type Body = ReadableStream<Uint8Array>;

/** Bytes of a file that are read at once. */
const PIECE = 1 << 16;

async function open(source: Source): Promise<Body> {
  if (source.url.protocol === "file:") return await openFile(source);
  const response = await request(source);
  const type = response.headers.get("content-type") ?? "";
  const { ok, body, status, statusText } = response;
  if (ok && body !== null && !type.startsWith("text/html")) return body;
  await body?.cancel().catch(() => {});
  throw refuse(
    source,
    ok && body !== null
      ? `the answer is a web page (${type}), not a library: a proxy or a login page may stand between`
      : `the server answered ${`${status} ${statusText}`.trimEnd()}${ok ? ", without a file" : ""}`,
  );
}

async function openFile(source: Source): Promise<Body> {
  const { url, patience } = source;
  try {
    const path = nodeUrl().fileURLToPath(url);
    const { isFile, isDirectory } = await patience.race(files().stat(path));
    // A pipe would be waited for, and a device has no end.
    if (!isFile) throw refuse(source, `it is ${isDirectory ? "a folder" : "no regular file"}`);
    return streamOf(await patience.race(files().open(path, "read")));
  } catch (cause) {
    throw explain(source, "the file cannot be read", cause);
  }
}

/** The bytes of an open file, which is closed at the end. */
function streamOf(file: OpenFile): Body {
  return new ReadableStream({
    async pull(controller) {
      const piece = new Uint8Array(PIECE);
      const count = await file.read(piece);
      if (count !== null) return controller.enqueue(piece.subarray(0, count));
      await file.close();
      controller.close();
    },
    cancel: () => file.close(),
  });
}

async function request(source: Source): Promise<Response> {
  const { url, patience } = source;
  try {
    const request = splitSecrets(url);
    const { headers } = request;
    return await patience.race(fetch(request.url, { headers, signal: patience.signal }));
  } catch (cause) {
    const advice = "without a network, use --from with a folder or a mirror";
    throw explain(source, `the server cannot be reached (${advice})`, cause);
  }
}

async function collect(
  source: Source,
  body: Body,
  onProgress: (progress: InstallProgress) => void,
): Promise<Uint8Array<ArrayBuffer>> {
  const { total, patience } = source;
  const bytes = new Uint8Array(total);
  const reader = body.getReader();
  try {
    for (let chunk = await next(source, reader); chunk !== undefined;) {
      const { received } = patience;
      if (received + chunk.length > total) throw refuse(source, `it is longer than ${total} bytes`);
      bytes.set(chunk, received);
      patience.count(chunk.length);
      onProgress({ received: patience.received, total });
      chunk = await next(source, reader);
    }
  } catch (error) {
    await reader.cancel().catch(() => {});
    throw error;
  }
  if (patience.received === total) return bytes;
  throw refuse(source, `it ends after ${patience.received} of ${total} bytes`);
}

/** The next bytes; undefined at the end. */
async function next(
  source: Source,
  reader: ReadableStreamDefaultReader<Uint8Array>,
): Promise<Uint8Array | undefined> {
  const { patience, total } = source;
  try {
    return (await patience.race(reader.read())).value;
  } catch (cause) {
    const progress = `${patience.received} of ${total} bytes`;
    throw explain(source, `the download broke off after ${progress}`, cause);
  }
}

/** The error of a call that failed, or took too long. */
function explain(source: Source, what: string, cause: unknown): KernelInstallError {
  if (cause instanceof KernelInstallError) return cause;
  const { patience: { reason, received }, total } = source;
  if (reason === undefined) return refuse(source, `${what}: ${message(cause)}`, cause);
  const advice = "try again, give it more time with --timeout, or use --from";
  return refuse(source, `${reason} (${received} of ${total} bytes in all): ${advice}`, cause);
}

function refuse({ url }: Source, why: string, cause?: unknown): KernelInstallError {
  const shown = withoutSecrets(url);
  const text = cannot(`install ${shown}`, why);
  // The error of a request has its URL.
  const said = [url, splitSecrets(url).url].reduce(
    (all, { href }) => all.replaceAll(href, shown),
    text,
  );
  return new KernelInstallError(said, url.href === shown ? { cause } : undefined);
}

/** What an error says, and what its cause says: `fetch` keeps the reason there. */
function message(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message;
}
