/**
 * Serves a page that trains on handwritten digits in the browser: `deno task demo:browser`.
 *
 * The page is bundled when the server starts.
 *
 * @module
 */

import { parseArgs } from "@std/cli/parse-args";

const HELP = `Serves a page that trains a network in the browser, with WebGPU or without.

Usage: deno task demo:browser [options]

  --port N  the port (default: 8000)
  --help    show this text`;

/** The path of each file, its type, and what reads it. */
const FILES: Readonly<Record<string, readonly [type: string, read: () => Promise<BodyInit>]>> = {
  "/": ["text/html; charset=utf-8", () => readText("browser/index.html")],
  "/digits.txt": ["text/plain; charset=utf-8", () => readText("digits/data/digits.txt")],
};

const readText = (path: string) => Deno.readTextFile(new URL(path, import.meta.url));

/** Bundles the program of the page. */
export async function bundlePage(): Promise<Uint8Array<ArrayBuffer>> {
  const source = new URL("browser/page.ts", import.meta.url);
  const command = new Deno.Command("deno", {
    args: ["bundle", "--quiet", "--platform", "browser", "--minify", source.href],
    stderr: "inherit",
  });
  const { success, stdout } = await command.output();
  if (!success) throw new Error("Cannot serve the page as it could not be bundled");
  return stdout;
}

/** Serves the page; port 0 is any that is free. */
export function servePage(script: Uint8Array<ArrayBuffer>, port: number): Deno.HttpServer {
  const options = {
    hostname: "127.0.0.1",
    port,
    onListen: (address: Deno.NetAddr) =>
      console.log(`The page is at http://127.0.0.1:${address.port}/ (Ctrl+C ends the server)`),
  };
  return Deno.serve(options, async (request) => {
    const { pathname } = new URL(request.url);
    if (pathname === "/page.js") return respond("text/javascript", script);
    const file = FILES[pathname];
    if (file === undefined) return new Response("Not found\n", { status: 404 });
    return respond(file[0], await file[1]());
  });
}

function respond(type: string, body: BodyInit): Response {
  return new Response(body, { headers: { "content-type": type } });
}

async function main(args: readonly string[]): Promise<void> {
  const flags = parseArgs([...args], { string: ["port"], boolean: ["help"] });
  if (flags.help) return console.log(HELP);
  const port = Number(flags.port ?? 8000);
  if (!(Number.isInteger(port) && port >= 0 && port < 2 ** 16)) {
    console.error(`Cannot read --port as it must be a number of a port: it is "${flags.port}"`);
    Deno.exit(2);
  }
  servePage(await bundlePage(), port);
}

if (import.meta.main) await main(Deno.args);
