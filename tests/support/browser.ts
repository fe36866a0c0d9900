/** Runs pages in a headless browser; where there is none, tests are reported as skipped. */

import { join } from "@std/path/join";
import { firstThatRuns, ROOT, run, temporaryFolder } from "../publish/stage.ts";

/** A browser; undefined if there is none. */
export const chromium = await firstThatRuns([
  ...["chromium", "chromium-browser", "google-chrome", "chrome"],
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
  "C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe",
], "--version");

/** How a browser runs that nobody sees, and that asks the network for nothing. */
export const HEADLESS = [
  ...["--headless", "--no-sandbox", "--no-first-run"],
  ...["--disable-background-networking", "--disable-quic"],
];

/** Bundles a program, and returns the path of the bundle in the folder. */
export async function bundle(
  folder: string,
  platform: "browser" | "deno",
  source: string,
): Promise<string> {
  const output = join(folder, "program.mjs");
  const { code, err } = await run(Deno.execPath(), [
    ...["bundle", "--quiet", "--platform", platform, "--output", output, source],
  ], { cwd: ROOT });
  if (code !== 0) throw new Error(err);
  return output;
}

/** Milliseconds that a page has. */
const PATIENCE = 240_000;

/** A page in a headless browser, with WebGPU on the processor where there is no GPU. */
export class Page implements AsyncDisposable {
  readonly #browser: Deno.ChildProcess;
  readonly #profile: AsyncDisposable;
  readonly #socket: WebSocket;
  readonly #answers = new Map<number, (result: Record<string, unknown>) => void>();
  #calls = 0;

  private constructor(browser: Deno.ChildProcess, profile: AsyncDisposable, socket: WebSocket) {
    this.#browser = browser;
    this.#profile = profile;
    this.#socket = socket;
    socket.onmessage = ({ data }) => {
      const { id, result, error } = JSON.parse(data);
      this.#answers.get(id)?.(result ?? { error });
    };
  }

  /** Opens a page. */
  static async open(url: string, size = "880,920"): Promise<Page> {
    const profile = await temporaryFolder();
    const browser = new Deno.Command(chromium!, {
      args: [
        ...[...HEADLESS, "--enable-unsafe-webgpu", "--hide-scrollbars", `--window-size=${size}`],
        ...["--remote-debugging-port=0", `--user-data-dir=${profile.path}`, url],
      ],
      stdout: "null",
      stderr: "piped",
    }).spawn();
    const port = await readPort(browser.stderr);
    const list = await (await fetch(`http://127.0.0.1:${port}/json/list`)).json();
    const target = list.find(({ type }: { type: string }) => type === "page");
    const socket = new WebSocket(target.webSocketDebuggerUrl);
    await new Promise((resolve) => socket.onopen = resolve);
    return new Page(browser, profile, socket);
  }

  /** Calls a method of the browser's debugger. */
  call(method: string, params: object): Promise<Record<string, unknown>> {
    const id = ++this.#calls;
    this.#socket.send(JSON.stringify({ id, method, params }));
    return new Promise((resolve) => this.#answers.set(id, resolve));
  }

  /** The value of an expression in the page. */
  async evaluate(expression: string): Promise<unknown> {
    const options = { expression, awaitPromise: true, returnByValue: true };
    const { result } = await this.call("Runtime.evaluate", options);
    return (result as { value: unknown }).value;
  }

  /** Waits until an expression is true in the page. */
  async until(expression: string): Promise<void> {
    const end = performance.now() + PATIENCE;
    while (await this.evaluate(expression) !== true) {
      if (performance.now() > end) throw new Error(`The page never had ${expression}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#socket.onclose = resolve);
    await this.call("Browser.close", {}).catch(() => {});
    await closed;
    await this.#browser.status;
    await this.#profile[Symbol.asyncDispose]();
  }
}

/** The port of the debugger, which the browser prints; the rest of its output is let go. */
async function readPort(stderr: ReadableStream<Uint8Array>): Promise<string> {
  const [first, rest] = stderr.tee();
  rest.pipeTo(new WritableStream()).catch(() => {});
  let text = "";
  for await (const part of first.pipeThrough(new TextDecoderStream())) {
    text += part;
    const port = text.match(/ws:\/\/127\.0\.0\.1:(\d+)/)?.[1];
    if (port !== undefined) return port;
  }
  throw new Error(text);
}

/**
 * Runs a module in a browser until it posts what it has found to `/result`.
 *
 * @param source The module, a file of TypeScript.
 * @param files What it fetches, by the paths on the server.
 * @returns What it has posted.
 */
export async function runInBrowser(
  source: string,
  files: Readonly<Record<string, string | Uint8Array<ArrayBuffer>>> = {},
): Promise<unknown> {
  await using folder = await temporaryFolder();
  const code = await Deno.readTextFile(await bundle(folder.path, "browser", source));
  const { promise, resolve, reject } = Promise.withResolvers<unknown>();
  const timer = setTimeout(() => reject(new Error("The page has not answered")), PATIENCE);
  const answer = async (request: Request): Promise<Response> => {
    const { pathname } = new URL(request.url);
    if (pathname === "/result") {
      resolve(await request.json());
      return new Response();
    }
    if (pathname in files) {
      return new Response(files[pathname], { headers: { "content-type": typeOf(pathname) } });
    }
    const isModule = pathname === "/program.mjs";
    const type = isModule ? "text/javascript" : "text/html";
    return new Response(isModule ? code : PAGE, { headers: { ...ISOLATED, "content-type": type } });
  };
  await using server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, answer);
  await using _page = await Page.open(`http://127.0.0.1:${server.addr.port}/`);
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
  }
}

/** The type of a file of a page, by its name. */
function typeOf(path: string): string {
  if (path.endsWith(".mjs")) return "text/javascript";
  return path.endsWith(".wasm") ? "application/wasm" : "text/plain";
}

/** What lets a page have a `SharedArrayBuffer`. */
const ISOLATED = {
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
};

/** The page: what goes wrong before the module runs is an answer, too. */
const PAGE = `<!doctype html>
<script>
  const send = (error) => fetch("/result", { method: "POST", body: JSON.stringify({ error }) });
  addEventListener("error", ({ message }) => send(message));
  addEventListener("unhandledrejection", ({ reason }) => send(String(reason?.stack ?? reason)));
</script>
<script type="module" src="/program.mjs"></script>`;
