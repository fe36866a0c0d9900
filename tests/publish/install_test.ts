/** Installing: what arrives is the released file, whole, or nothing. */

import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { join } from "@std/path/join";
import { basename } from "node:path";
import type * as Install from "../../install.ts";
import { cachedName } from "../../src/native/release.ts";
import {
  checksumsOf,
  run,
  serve,
  serveFolder,
  type Server,
  stage,
  temporaryFolder,
} from "./stage.ts";

const SIZE = 2 ** 20;
const FULL = Uint8Array.from({ length: SIZE }, (_, i) => i % 251);
const CPU_ONLY = FULL.slice(1000);
const FLIPPED = FULL.with(12345, FULL[12345] ^ 1);

const temporary = await temporaryFolder();
Deno.test.afterAll(async () => await temporary[Symbol.asyncDispose]());
const staged = await stage(temporary.path, [FULL, CPU_ONLY]);
const checksums = await checksumsOf(staged);
const install: typeof Install = await import(`file://${staged.root}/install.ts`);

let folders = 0;
const newFolder = () => join(temporary.path, `cache-${folders++}`);

async function list(folder: string): Promise<string[]> {
  try {
    return (await Array.fromAsync(Deno.readDir(folder))).map(({ name }) => name).sort();
  } catch {
    return [];
  }
}

for (const cpuOnly of [false, true]) {
  const name = staged.names[Number(cpuOnly)];
  const bytes = cpuOnly ? CPU_ONLY : FULL;
  const { sha256 } = checksums[name];

  Deno.test(`${cpuOnly ? "the cpu-only" : "the full"} library comes from a server or a folder`, async () => {
    await using server = serveFolder(staged.dist);
    for (const from of [server.url, server.url.slice(0, -1), staged.dist, new URL(server.url)]) {
      const folder = newFolder();
      const { path, wasThere, size } = await install.installKernels({ from, folder, cpuOnly });
      assertEquals([wasThere, size], [false, bytes.length]);
      assertEquals(await Deno.readFile(path), bytes);
      assertEquals(await list(folder), [cachedName(name, sha256)]);
    }
  });
}

Deno.test("the progress bar shows every piece up to the whole", async () => {
  const steps: Install.InstallProgress[] = [];
  const onProgress = (step: Install.InstallProgress) => steps.push(step);
  await install.installKernels({ from: staged.dist, folder: newFolder(), onProgress });
  assert(steps.length > 1);
  assertEquals(steps.at(-1), { received: SIZE, total: SIZE });
  assert(steps.every(({ received }, i) => i === 0 || received > steps[i - 1].received));
});

Deno.test("a complete library stays as it is, without a download", async () => {
  const folder = newFolder();
  const { path } = await install.installKernels({ from: staged.dist, folder });
  const before = await Deno.stat(path);
  const again = await install.installKernels({ from: "/nowhere", folder });
  const after = await Deno.stat(path);
  assertEquals(again, { ...again, path, wasThere: true });
  assertEquals([after.ino, after.mtime], [before.ino, before.mtime]);
});

Deno.test("a damaged library is replaced, and programs that have the old one open keep it", async () => {
  const folder = newFolder();
  const { path } = await install.installKernels({ from: staged.dist, folder });
  await Deno.writeFile(path, FLIPPED);
  const old = await Deno.open(path);
  await install.installKernels({ from: staged.dist, folder });
  assertEquals(await Deno.readFile(path), FULL);
  assertEquals(new Uint8Array(await new Response(old.readable).arrayBuffer()), FLIPPED);
});

Deno.test("installs at the same time in one process do no harm", async () => {
  const folder = newFolder();
  const installs = Array.from(
    { length: 8 },
    () => install.installKernels({ from: staged.dist, folder }),
  );
  const [{ path }] = await Promise.all(installs);
  assertEquals(await list(folder), [basename(path)]);
  assertEquals(await Deno.readFile(path), FULL);
});

Deno.test("installs at the same time in several processes do no harm", async () => {
  await using server = serveFolder(staged.dist);
  const folder = newFolder();
  const installs = Array.from({ length: 8 }, () =>
    run(Deno.execPath(), [
      ...["run", "-A", "--no-check", `${staged.root}/install.ts`],
      ...["--from", server.url, "--to", folder],
    ]));
  const outcomes = await Promise.all(installs);
  assertEquals(outcomes.map(({ code }) => code), Array(8).fill(0));
  assertEquals(await list(folder), [
    cachedName(staged.names[0], checksums[staged.names[0]].sha256),
  ]);
  assertEquals(await Deno.readFile(join(folder, (await list(folder))[0])), FULL);
});

function respond(body: BodyInit | null, init?: ResponseInit): () => Server {
  return () => serve(() => new Response(body, init));
}

/** Promises the whole, sends a part, and hangs up. */
function breakOff(): Server {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const answered = (async () => {
    using connection = await listener.accept();
    await connection.read(new Uint8Array(4096));
    const head = `HTTP/1.1 200 OK\r\ncontent-length: ${SIZE}\r\n\r\n`;
    await connection.write(new TextEncoder().encode(head));
    await connection.write(FULL.subarray(0, 4000));
  })();
  return {
    url: `http://127.0.0.1:${listener.addr.port}/`,
    async [Symbol.asyncDispose]() {
      await answered;
      listener.close();
    },
  };
}

const failures: [name: string, start: () => Server, message: RegExp][] = [
  ["a wrong hash", respond(FLIPPED), /as its SHA-256 must be [0-9a-f]{64}: current value is /],
  ["a short file", respond(FULL.slice(0, 5000)), /as it ends after 5000 of 1048576 bytes$/],
  ["a long file", respond(new Uint8Array(SIZE + 1)), /as it is longer than 1048576 bytes$/],
  ["a cut download", breakOff, /as the download broke off after 4000 of 1048576 bytes: /],
  [
    "a proxy's page",
    respond("<html>Log in</html>", { headers: { "content-type": "text/html; charset=utf-8" } }),
    /as the answer is a web page \(text\/html; charset=utf-8\), not a library: a proxy or a login/,
  ],
  [
    "a missing file",
    respond("no", { status: 404, statusText: "Not Found" }),
    /as the server answered 404 Not Found$/,
  ],
  ["an empty answer", respond(null), /as it ends after 0 of 1048576 bytes$/],
  [
    "an answer that has no body",
    respond(null, { status: 204 }),
    /as the server answered 204 No Content, without a file$/,
  ],
];

for (const [name, start, message] of failures) {
  Deno.test(`${name} is an error, and nothing is installed`, async () => {
    await using server = start();
    const folder = newFolder();
    const error = await assertRejects(
      () => install.installKernels({ from: server.url, folder }),
      install.KernelInstallError,
      `Cannot install ${server.url}${staged.names[0]} as `,
    );
    assert(message.test(error.message), error.message);
    assertEquals(await list(folder), []);
  });
}

/** Answers with these texts, a pause after each, and then with nothing more. */
function drip(texts: Iterable<string | Uint8Array<ArrayBuffer>>, pause: number): Server {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const ended = Promise.withResolvers<void>();
  let isOver = false;
  const answered = (async () => {
    using connection = await listener.accept();
    const writer = connection.writable.getWriter();
    for (const text of texts) {
      if (isOver) return;
      await writer.write(typeof text === "string" ? new TextEncoder().encode(text) : text);
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
    await ended.promise;
  })().catch(() => {}); // the other end hangs up
  return {
    url: `http://127.0.0.1:${listener.addr.port}/`,
    async [Symbol.asyncDispose]() {
      isOver = true;
      ended.resolve();
      await answered;
      listener.close();
    },
  };
}

const HEAD = `HTTP/1.1 200 OK\r\ncontent-length: ${SIZE}\r\n\r\n`;
const slow: [name: string, texts: () => Iterable<string | Uint8Array<ArrayBuffer>>, of: RegExp][] =
  [
    ["is silent", () => [], /^0$/],
    ["begins an answer, and is silent then", () => ["HTTP/1.1 200 OK\r\n"], /^0$/],
    ["sends headers, and nothing then", () => [HEAD], /^0$/],
    ["sends headers a byte at a time", () => HEAD, /^0$/],
    ["sends a byte at a time", () => [HEAD, ..."x".repeat(1000)], /^[1-9][0-9]*$/],
    ["stops in the middle", () => [HEAD, FULL.slice(0, SIZE / 2)], /^524288$/],
  ];

for (const [name, texts, received] of slow) {
  Deno.test(`a server that ${name} is given up after the timeout`, async () => {
    await using server = drip(texts(), 20);
    const folder = newFolder();
    const start = performance.now();
    const error = await assertRejects(
      () => install.installKernels({ from: server.url, folder, timeout: 0.4 }),
      install.KernelInstallError,
    );
    const took = performance.now() - start;
    const [, bytes] = error.message.match(
      /as fewer than 64 KiB came in 0\.4 s \((\d+) of 1048576 bytes in all\): try again, give it more/,
    ) ?? [error.message, error.message];
    assertMatch(bytes, received);
    assert(took >= 400 && took < 5000, `it took ${took} ms`);
    assertEquals(await list(folder), []);
  });
}

Deno.test("a server that is slow, but not too slow, is waited for", async () => {
  const pieces = Array.from({ length: 8 }, (_, i) => FULL.slice(i * SIZE / 8, (i + 1) * SIZE / 8));
  await using server = drip([HEAD, ...pieces], 150);
  const { path } = await install.installKernels({
    from: server.url,
    folder: newFolder(),
    timeout: 0.6, // half of what all of it takes
  });
  assertEquals(await Deno.readFile(path), FULL);
});

Deno.test("the program has a timeout too, and ends when it is over", async () => {
  await using server = drip([], 0);
  const args = ["--from", server.url, "--to", newFolder(), "--timeout", "0.3"];
  const { code, err } = await program(...args);
  assertEquals(code, 1, err);
  assertStringIncludes(err, "as fewer than 64 KiB came in 0.3 s");
});

/** The program, which is ended if it hangs. */
function program(...args: string[]) {
  return run(Deno.execPath(), ["run", "-A", "--no-check", `${staged.root}/install.ts`, ...args], {
    signal: AbortSignal.timeout(60_000),
  });
}

const TIMEOUTS: [timeout: unknown, error: ErrorConstructor, message: string][] = [
  [0, RangeError, "current value is 0"],
  [-1, RangeError, "current value is -1"],
  [NaN, RangeError, "current value is NaN"],
  [Infinity, RangeError, "current value is Infinity"],
  [1e10, RangeError, "must be > 0 and <= 2147483 seconds: current value is 10000000000"],
  ["30", TypeError, "must be a number of seconds: current value is string"],
];

for (const [timeout, error, message] of TIMEOUTS) {
  Deno.test(`a timeout of ${Deno.inspect(timeout)} is refused`, async () => {
    const options = { from: staged.dist, folder: newFolder(), timeout: timeout as number };
    await assertRejects(() => install.installKernels(options), error, message);
  });
}

const ODD: [option: "--from" | "--to" | "--timeout", value: string, message: string][] = [
  ["--from", "", "Cannot set from (--from) as it must not be empty"],
  ["--from", "http://:::/", "must be a folder or a valid URL"],
  [
    "--from",
    "data:,library",
    "must be a folder, or a URL that begins with http, https or file: current",
  ],
  [
    "--from",
    "ftp://127.0.0.1/",
    "must be a folder, or a URL that begins with http, https or file: current",
  ],
  [
    "--from",
    "blob:null/1",
    "must be a folder, or a URL that begins with http, https or file: current",
  ],
  ["--from", "file://elsewhere/folder", "as the file cannot be read: "],
  ["--from", "a\0b", "as the file cannot be read: "],
  ["--from", join(staged.root, "mod.ts"), "as the file cannot be read: "],
  ["--to", "", "Cannot set folder (--to) as it must not be empty"],
  ["--to", "https://127.0.0.1/", "must be a folder, not a URL"],
  ["--to", join(staged.root, "mod.ts"), "must be a folder, and what is there is something else"],
  ["--timeout", "soon", "'--timeout' must be a number of seconds: it is 'soon'"],
  ["--timeout", "", "'--timeout' must be a number of seconds: it is ''"],
  ["--timeout", "0", "as it must be > 0 and <= 2147483 seconds: current value is 0"],
];

for (const [option, value, message] of ODD) {
  Deno.test(`${option} ${JSON.stringify(value)} is refused in words`, async () => {
    if (option !== "--timeout") {
      const chosen = { from: staged.dist, folder: newFolder(), timeout: 5 };
      const options = { ...chosen, [option === "--from" ? "from" : "folder"]: value };
      const { installKernels, KernelInstallError } = install;
      await assertRejects(() => installKernels(options), KernelInstallError, message);
    }
    if (value.includes("\0")) return; // no argument of a program can be so
    const others = option === "--to" ? ["--from", staged.dist] : ["--to", newFolder()];
    const { code, err } = await program(...others, option, value);
    assertEquals(code, option === "--timeout" && value !== "0" ? 2 : 1, err);
    assertStringIncludes(err, message);
    assert(!/^\s+at /m.test(err), err);
  });
}

/** Where no mirror is, or a wrong one. */
const SECRET: [from: string, what: string][] = [
  ["http://user:pass%20word@127.0.0.1:9/mirror?token=word", "http://127.0.0.1:9/mirror/"],
  ["https://user:pass%20word@127.0.0.1:9/mirror", "https://127.0.0.1:9/mirror/"],
  ["http://user:pass%20word@localhost:1/", "http://localhost:1/"],
  ["ftp://user:password@127.0.0.1/", "or a URL that begins with http"],
  ["http://user:pass/word@127.0.0.1/", "a valid URL"],
];

for (const [from, what] of SECRET) {
  Deno.test(`the password in ${from} is in no message`, async () => {
    const { installKernels, KernelInstallError } = install;
    const error = await assertRejects(
      () => installKernels({ from, folder: newFolder() }),
      KernelInstallError,
      what,
    );
    const runs = [["--from", from, "--to", newFolder()], [from], ["--to", from]];
    const said = await Promise.all(runs.map(async (args) => (await program(...args)).err));
    for (const text of [Deno.inspect(error), ...said]) assert(!/user:|word/.test(text), text);
  });
}

Deno.test("a mirror gets the user and the password of its URL, and no error has them", async () => {
  const seen: (string | null)[] = [];
  await using server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    ({ headers }) => {
      seen.push(headers.get("authorization"));
      return new Response("no", { status: 403 });
    },
  );
  const from = `http://us%C3%A9:pass%20word@127.0.0.1:${server.addr.port}/?token=word`;
  const { installKernels, KernelInstallError } = install;
  const error = await assertRejects(
    () => installKernels({ from, folder: newFolder() }),
    KernelInstallError,
    "403",
  );
  assert(!error.message.includes("word"), error.message);
  assertEquals(seen, [`Basic ${new TextEncoder().encode("usé:pass word").toBase64()}`]);
});

Deno.test("schemes may be in capitals, and mirrors may have a query", async () => {
  await using server = serveFolder(staged.dist);
  for (const from of [server.url.replace("http", "HTTP"), `${server.url}?token=1`]) {
    const { path } = await install.installKernels({ from, folder: newFolder() });
    assertEquals(await Deno.readFile(path), FULL);
  }
});

const bash = await run("bash", ["--version"]).then(({ code }) => code === 0, () => false);
const mkfifo = await run("mkfifo", ["--version"]).then(({ code }) => code === 0, () => false);

Deno.test({
  name: `what is not a file is not waited for${mkfifo ? "" : " (skipped: no mkfifo)"}`,
  ignore: !mkfifo,
  async fn() {
    const from = newFolder();
    await Deno.mkdir(from);
    await run("mkfifo", [join(from, staged.names[0])]);
    await Deno.mkdir(join(from, staged.names[1]));
    for (const [kind, ...more] of [["no regular file"], ["a folder", "--cpu-only"]]) {
      const { code, err } = await program("--from", from, "--to", newFolder(), ...more);
      assertEquals(code, 1, err);
      assertStringIncludes(err, `as it is ${kind}`);
    }
  },
});

const cached = cachedName(staged.names[0], checksums[staged.names[0]].sha256);
const windows = Deno.build.os === "windows";
const CACHED: [string, make: (path: string) => Promise<unknown>, missing?: string | false][] = [
  ["a huge file", (path) => Deno.writeFile(path, FULL).then(() => Deno.truncate(path, 2 ** 40))],
  ["a longer file", (path) => Deno.writeFile(path, new Uint8Array(SIZE + 1))],
  ["a shorter file", (path) => Deno.writeFile(path, FULL.slice(1))],
  ["a link to a device", (path) => Deno.symlink("/dev/zero", path), windows && "not on Windows"],
  ["a link to itself", (path) => Deno.symlink(path, path), windows && "not on Windows"],
  ["a pipe", (path) => run("mkfifo", [path]), !mkfifo && "no mkfifo"],
];

for (const [name, make, missing] of CACHED) {
  Deno.test({
    name: `${name} in the library's place is not read, but replaced${
      missing ? ` (skipped: ${missing})` : ""
    }`,
    ignore: Boolean(missing),
    async fn() {
      const folder = newFolder();
      await Deno.mkdir(folder);
      await make(join(folder, cached));
      const { code, err } = await program("--from", staged.dist, "--to", folder);
      assertEquals(code, 0, err);
      assertEquals(await Deno.readFile(join(folder, cached)), FULL);
    },
  });
}

Deno.test("an error of the caller's own is not taken for one of the download", async () => {
  const onProgress = () => {
    throw new SyntaxError("stop");
  };
  const options = { from: staged.dist, folder: newFolder(), onProgress };
  await assertRejects(() => install.installKernels(options), SyntaxError, "stop");
});

Deno.test("without a network the error names the alternative", async () => {
  const server = serveFolder(staged.dist);
  await server[Symbol.asyncDispose]();
  const folder = newFolder();
  const error = await assertRejects(
    () => install.installKernels({ from: server.url, folder }),
    install.KernelInstallError,
  );
  assertStringIncludes(
    error.message,
    "the server cannot be reached (without a network, use --from",
  );
  assertEquals(await list(folder), []);
});

Deno.test("a folder without the file is an error", async () => {
  const error = await assertRejects(
    () => install.installKernels({ from: temporary.path, folder: newFolder() }),
    install.KernelInstallError,
  );
  assertStringIncludes(error.message, "as the file cannot be read: ");
});

Deno.test("a cache that is not a folder is an error", async () => {
  const folder = join(staged.root, "mod.ts", "cache");
  await assertRejects(
    () => install.installKernels({ from: staged.dist, folder }),
    install.KernelInstallError,
    `Cannot write ${folder}`,
  );
});

Deno.test({
  name: `a disk that is full is an error, and nothing is left behind${
    windows ? " (skipped: not on Windows)" : bash ? "" : " (skipped: no bash)"
  }`,
  ignore: windows || !bash,
  async fn() {
    const folder = newFolder();
    const home = newFolder();
    // A limit on the size of files stands in for the full disk: a write fails after a part.
    const script = `trap "" XFSZ; ulimit -f 512; exec "$0" run -A --no-check "$@"`;
    const { code, err } = await run("bash", [
      ...["-c", script, Deno.execPath(), `${staged.root}/install.ts`],
      ...["--from", staged.dist, "--to", folder],
    ], { env: { DENO_DIR: home } });
    assertEquals(code, 1, err);
    assertStringIncludes(err, `Cannot write ${folder}`);
    assertEquals(await list(folder), []);
  },
});

Deno.test("uninstalling removes this version, or all, and nothing that is not Descent's", async () => {
  const folder = newFolder();
  const { path } = await install.installKernels({ from: staged.dist, folder });
  const others = ["descent_kernels-0.0.9-linux-x86_64-0123456789abcdef.so", "notes.txt"];
  for (const other of others) await Deno.writeTextFile(join(folder, other), "");
  await Deno.writeTextFile(`${path}.broken.part`, "");
  assertEquals(await install.uninstallKernels({ folder }), [path, `${path}.broken.part`]);
  assertEquals(await list(folder), others);
  assertEquals(await install.uninstallKernels({ folder, all: true }), [join(folder, others[0])]);
  assertEquals(await list(folder), ["notes.txt"]);
  await Deno.remove(join(folder, "notes.txt"));
  assertEquals(await install.uninstallKernels({ folder }), []);
  assertEquals(await install.uninstallKernels({ folder }), []);
});

Deno.test("a package that is not a release reports that", async () => {
  const { installKernels, KernelInstallError } = await import("@descent/sgd/install");
  await assertRejects(
    () => installKernels({ folder: newFolder() }),
    KernelInstallError,
    "it is not a release; build the library with deno task build",
  );
});

Deno.test("the program refuses options that it does not have", async () => {
  const args = ["run", "--no-prompt", "--no-check", `${staged.root}/install.ts`, "--form", "x"];
  const { code, err } = await run(Deno.execPath(), args);
  assertEquals(code, 2);
  assertStringIncludes(err, "Unknown option '--form'");
  assertStringIncludes(err, "--from DIR|URL");
});
