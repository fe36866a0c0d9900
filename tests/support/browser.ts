/** Runs pages in a headless browser; where there is none, tests are reported as skipped. */

import { join } from "@std/path/join";
import { ROOT, run, temporaryFolder } from "../publish/stage.ts";

/** The first program that runs, of several names for it. */
export async function firstThatRuns(programs: readonly string[], ...args: string[]) {
  for (const program of programs) {
    const { code } = await run(program, args).catch(() => ({ code: 1 }));
    if (code === 0) return program;
  }
  return undefined;
}

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

/** A headless browser on a page of its own, with WebGPU on the processor. */
class OpenPage implements AsyncDisposable {
  readonly #browser: Deno.ChildProcess;
  readonly #server: Deno.HttpServer;

  constructor(browser: Deno.ChildProcess, server: Deno.HttpServer) {
    this.#browser = browser;
    this.#server = server;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#browser.kill();
    await this.#browser.status;
    await this.#server.shutdown();
  }
}

/**
 * Runs a module in a browser until it posts what it has found to `/result`.
 *
 * @param source The module, a file of TypeScript.
 * @param files Other files that it fetches, by their paths on the server.
 * @returns What it has posted.
 */
export async function runInBrowser(
  source: string,
  files: Readonly<Record<string, Uint8Array<ArrayBuffer>>> = {},
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
    if (pathname in files) return new Response(files[pathname]);
    const isModule = pathname === "/program.mjs";
    const type = isModule ? "text/javascript" : "text/html";
    return new Response(isModule ? code : PAGE, { headers: { "content-type": type } });
  };
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, answer);
  const browser = new Deno.Command(chromium!, {
    args: [
      ...HEADLESS,
      "--enable-unsafe-webgpu",
      `--user-data-dir=${folder.path}/profile`,
      `http://127.0.0.1:${server.addr.port}/`,
    ],
    stdout: "null",
    stderr: "null",
  }).spawn();
  await using _page = new OpenPage(browser, server);
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
  }
}

/** The page: what goes wrong before the module runs is an answer, too. */
const PAGE = `<!doctype html>
<script>
  const send = (error) => fetch("/result", { method: "POST", body: JSON.stringify({ error }) });
  addEventListener("error", ({ message }) => send(message));
  addEventListener("unhandledrejection", ({ reason }) => send(String(reason?.stack ?? reason)));
</script>
<script type="module" src="/program.mjs"></script>`;
