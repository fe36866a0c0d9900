/** Checkpoint files: what is in them, and what is left when something goes wrong. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { CheckpointError, encodeStateDict, loadState, saveState, SGD } from "@descent/sgd";
import type { Parameter, Progress, StateDict, StatefulScheduler } from "@descent/sgd";
import { fileOf, headerOf } from "./hostile_files.ts";
import { leftoverOf, saver, script } from "./process.ts";

const LARGE = 3 << 20; // elements: 12 MiB, three pieces

function parameters(...lengths: number[]): Parameter[] {
  return lengths.map((length, i) => ({
    data: Float32Array.from({ length }, (_, k) => k % 1000),
    grad: Float32Array.from({ length }, (_, k) => (k % 7) - 3),
    name: `w${i}`,
  }));
}

function stepped(...lengths: number[]): { optimizer: SGD; params: Parameter[] } {
  const params = parameters(...lengths);
  const optimizer = new SGD(params, { lr: 0.1, momentum: 0.5, backend: "js" });
  optimizer.step();
  return { optimizer, params };
}

const onWindows = Deno.build.os === "windows" && "not on Windows";
const withoutPipes = onWindows || (await hasMkfifo() ? false : "no mkfifo");

async function hasMkfifo(): Promise<boolean> {
  try {
    return (await new Deno.Command("mkfifo", { args: ["--help"] }).output()).code !== 127;
  } catch {
    return false;
  }
}

const DICT: StateDict = stepped(3).optimizer.stateDict();
const OTHER: StateDict = stepped(4).optimizer.stateDict();

/** Runs a test in a folder of its own, and makes sure that it leaves only these files there. */
function test(
  name: string,
  left: string[],
  run: (folder: string) => Promise<void>,
  missing?: string | false,
) {
  Deno.test({
    name: missing ? `${name} (skipped: ${missing})` : name,
    ignore: Boolean(missing),
    async fn() {
      const folder = await Deno.makeTempDir();
      try {
        await run(folder);
        assertEquals(filesIn(folder), left);
      } finally {
        await Deno.remove(folder, { recursive: true });
      }
    },
  });
}

function filesIn(folder: string): string[] {
  return [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
}

test("an optimizer is saved as its state dict is encoded", ["a", "b"], async (folder) => {
  const { optimizer } = stepped(3, LARGE, 0, 5);
  await saveState(`${folder}/a`, optimizer);
  assertEquals(await Deno.readFile(`${folder}/a`), encodeStateDict(optimizer.stateDict()));
  await saveState(`${folder}/b`, optimizer, { parameters: true, metadata: { epoch: "3" } });
  const dict = { ...optimizer.stateDict({ parameters: true }), metadata: { epoch: "3" } };
  assertEquals(await Deno.readFile(`${folder}/b`), encodeStateDict(dict));
  assertEquals(await loadState(`${folder}/b`), dict);
});

test("one file resumes a run in another optimizer", ["run"], async (folder) => {
  const { optimizer, params } = stepped(5, 2);
  await saveState(`${folder}/run`, optimizer, { parameters: true });
  const others = parameters(5, 2);
  const other = new SGD(others, { lr: 7, backend: "js" });
  other.loadStateDict(await loadState(`${folder}/run`), { parameters: true });
  for (const each of [optimizer, other]) each.step();
  assertEquals(others.map(({ data }) => data), params.map(({ data }) => data));
});

test("a dict keeps its scheduler's state unless there is a scheduler", ["a"], async (folder) => {
  const dict: StateDict = { ...DICT, lr_scheduler: { last_epoch: 1, _last_lr: [0.5] } };
  await saveState(`${folder}/a`, dict);
  assertEquals(await loadState(`${folder}/a`), dict);
  const lr_scheduler = { last_epoch: 2, _last_lr: [0.25] };
  await saveState(`${folder}/a`, dict, { scheduler: { stateDict: () => lr_scheduler } });
  assertEquals(await loadState(`${folder}/a`), { ...dict, lr_scheduler });
});

test("views into larger and shared memory are saved as they are", ["a"], async (folder) => {
  const memory = new SharedArrayBuffer(64);
  const data = new Float32Array(memory, 8, 3);
  data.set([1, 2, 3]);
  const dict = { ...DICT, parameters: { 0: { data } } };
  await saveState(`${folder}/a`, dict);
  assertEquals((await loadState(`${folder}/a`)).parameters![0].data, Float32Array.of(1, 2, 3));
});

test("paths may be URLs, with spaces and signs in them", ["a %20 ü.st"], async (folder) => {
  const url = new URL(`file://${folder}/${encodeURIComponent("a %20 ü.st")}`);
  await saveState(url, DICT);
  assertEquals(await loadState(url), DICT);
});

test("relative paths are relative to the current folder", ["a", "in"], async (folder) => {
  await inside(folder, async () => {
    await Deno.mkdir("in");
    for (const path of ["a", "./in/../a", "in/b"]) {
      await saveState(path, DICT);
      assertEquals(await loadState(path), DICT);
    }
  });
});

/** Runs in a folder, and puts the current folder back. */
async function inside(folder: string, run: () => Promise<void>): Promise<void> {
  const before = Deno.cwd();
  Deno.chdir(folder);
  try {
    await run();
  } finally {
    Deno.chdir(before);
  }
}

const MOVES: [string, (folder: string, onProgress: () => void) => Promise<unknown>][] = [
  ["a save", (_, onProgress) => saveState("a", stepped(LARGE).optimizer, { onProgress })],
  ["a save through a link", async (folder, onProgress) => {
    await Deno.symlink("a", `${folder}/link`);
    await saveState("link", stepped(LARGE).optimizer, { onProgress });
    await Deno.remove(`${folder}/link`);
  }],
  ["a load's look for leftovers", async (folder, onProgress) => {
    await saveState("a", DICT);
    await Deno.writeTextFile(`${folder}/${await leftoverOf("a")}`, "half a file");
    await loadState("a", { onProgress });
  }],
];

for (const [what, run] of MOVES) {
  test(`${what} is not moved by a change of the folder`, ["a", "in"], async (folder) => {
    await Deno.mkdir(`${folder}/in`);
    await inside(folder, async () => {
      await run(folder, () => Deno.chdir(`${folder}/in`));
      assertEquals(filesIn(`${folder}/in`), []);
    });
  });
}

test(
  "a save is not moved by a change of the folder right after the call",
  ["a", "in"],
  async (folder) => {
    await Deno.mkdir(`${folder}/in`);
    await inside(folder, async () => {
      const saving = saveState("a", DICT);
      Deno.chdir("in");
      await saving;
      assertEquals(filesIn(`${folder}/in`), []);
    });
  },
);

test("a symbolic link is followed, and stays", ["link", "real"], async (folder) => {
  await saveState(`${folder}/real`, DICT);
  await Deno.symlink("real", `${folder}/link`);
  await saveState(`${folder}/link`, OTHER);
  assertEquals(await loadState(`${folder}/real`), OTHER);
  assert((await Deno.lstat(`${folder}/link`)).isSymlink);
});

test("a symbolic link to a file that is not there yet is followed too", ["in"], async (folder) => {
  await Deno.mkdir(`${folder}/in`);
  const links = [["first", "in/second"], ["in/second", "third"], ["in/third", `${folder}/in/file`]];
  for (const [link, target] of links) await Deno.symlink(target, `${folder}/${link}`);
  await saveState(`${folder}/first`, DICT);
  assertEquals(filesIn(`${folder}/in`), ["file", "second", "third"]);
  assertEquals(await loadState(`${folder}/in/file`), DICT);
  for (const [link] of links) assert((await Deno.lstat(`${folder}/${link}`)).isSymlink);
  await Deno.remove(`${folder}/first`);
});

const LONG = "ü".repeat(127); // 254 bytes; systems allow 255

test("a file name may be as long as the system allows", [LONG], async (folder) => {
  for (const dict of [DICT, OTHER]) await saveState(`${folder}/${LONG}`, dict);
  assertEquals(await loadState(`${folder}/${LONG}`), OTHER);
});

test(
  "the content is on disk before its name, and the name before the promise",
  ["a"],
  async (folder) => {
    const { write, sync } = Deno.FsFile.prototype;
    const { rename } = Deno;
    const calls: string[] = [];
    Deno.FsFile.prototype.write = async function (bytes) {
      const count = await write.call(this, bytes);
      if (calls.at(-1) !== "write") calls.push("write");
      return count;
    };
    Deno.FsFile.prototype.sync = async function () {
      const { isDirectory } = await this.stat();
      await sync.call(this);
      calls.push(isDirectory ? "sync of the folder" : "sync of the file");
    };
    Deno.rename = async (...paths) => {
      await rename(...paths);
      calls.push("rename");
    };
    try {
      await saveState(`${folder}/a`, stepped(LARGE).optimizer);
    } finally {
      Object.assign(Deno.FsFile.prototype, { write, sync });
      Deno.rename = rename;
    }
    const folders = Deno.build.os === "windows" ? [] : ["sync of the folder"];
    assertEquals(calls, ["write", "sync of the file", "rename", ...folders]);
  },
);

test("the permission bits of the old file stay", ["a"], async (folder) => {
  await saveState(`${folder}/a`, DICT);
  await Deno.chmod(`${folder}/a`, 0o640);
  await saveState(`${folder}/a`, OTHER);
  assertEquals((await Deno.stat(`${folder}/a`)).mode! & 0o777, 0o640);
}, onWindows);

test("progress is reported piece by piece, up to the whole file", ["a"], async (folder) => {
  const { optimizer } = stepped(LARGE);
  const [saved, loaded]: Progress[][] = [[], []];
  await saveState(`${folder}/a`, optimizer, { onProgress: (progress) => saved.push(progress) });
  await loadState(`${folder}/a`, { onProgress: (progress) => loaded.push(progress) });
  const { size } = await Deno.stat(`${folder}/a`);
  for (const list of [saved, loaded]) {
    assert(list.length >= 4, `only ${list.length} pieces`);
    assert(list.every(({ done, total }, i) => total === size && done > (list[i - 1]?.done ?? 0)));
    assertEquals(list.at(-1), { done: size, total: size });
  }
});

test("small tensors share the calls that write and read them", ["a"], async (folder) => {
  const lengths = Array.from({ length: 3000 }, (_, i) => i % 13);
  const { optimizer } = stepped(...lengths, LARGE, 5);
  const { write, read } = Deno.FsFile.prototype;
  let calls = 0;
  Deno.FsFile.prototype.write = function (bytes) {
    calls++;
    return write.call(this, bytes);
  };
  Deno.FsFile.prototype.read = function (bytes) {
    calls++;
    return read.call(this, bytes);
  };
  try {
    await saveState(`${folder}/a`, optimizer, { parameters: true });
    const written = calls;
    const dict = await loadState(`${folder}/a`);
    // 25 MB in pieces of 4 MiB; the system may write or read a piece in parts.
    for (const count of [written, calls - written]) {
      assert(count >= 6 && count < 50, `${count} calls`);
    }
    assertEquals(dict, optimizer.stateDict({ parameters: true }));
  } finally {
    Object.assign(Deno.FsFile.prototype, { write, read });
  }
});

test("neither saving nor loading holds everything a second time", ["a"], async (folder) => {
  const length = 1 << 24; // 64 MiB of momentum
  const bytes = length * 4;
  const w = { data: new Float32Array(length), grad: new Float32Array(length) };
  const optimizer = new SGD([w], { lr: 0.1, momentum: 0.5, backend: "js" });
  optimizer.step();
  const arrays = () => Deno.memoryUsage().external;
  const watch = async (run: (onProgress: () => void) => Promise<unknown>) => {
    const before = arrays();
    let most = 0;
    await run(() => most = Math.max(most, arrays() - before));
    return most;
  };
  const saving = await watch((onProgress) => saveState(`${folder}/a`, optimizer, { onProgress }));
  assert(saving < bytes / 4, `saving took ${saving} bytes for ${bytes}`);
  const loading = await watch((onProgress) => loadState(`${folder}/a`, { onProgress }));
  assert(loading < bytes * 5 / 4, `loading took ${loading} bytes for ${bytes}`);
});

test("a callback that throws leaves the old file and nothing else", ["a"], async (folder) => {
  await saveState(`${folder}/a`, DICT);
  const onProgress = () => {
    throw new SyntaxError("stop");
  };
  await assertRejects(() => saveState(`${folder}/a`, OTHER, { onProgress }), SyntaxError, "stop");
  assertEquals(filesIn(folder), ["a"]);
  assertEquals(await loadState(`${folder}/a`), DICT);
});

const late = { data: new Float32Array(1), grad: null };
const CHANGES: [string, (optimizer: SGD) => void][] = [
  ["steps", (optimizer) => optimizer.step()],
  ["loads", (optimizer) => optimizer.loadStateDict(optimizer.stateDict())],
  ["grows", (optimizer) => optimizer.addParamGroup({ params: [late] })],
];

for (const [name, change] of CHANGES) {
  test(`an optimizer that ${name} while it is saved is not saved half`, ["a"], async (folder) => {
    const { optimizer } = stepped(LARGE);
    await saveState(`${folder}/a`, DICT);
    let changed = false;
    const onProgress = () => {
      if (!changed) change(optimizer);
      changed = true;
    };
    await assertRejects(
      () => saveState(`${folder}/a`, optimizer, { onProgress }),
      Error,
      "the optimizer has stepped meanwhile: await saveState",
    );
    assertEquals(await loadState(`${folder}/a`), DICT);
  });
}

test(
  "an array that is transferred while it is saved leaves the old file",
  ["a"],
  async (folder) => {
    await saveState(`${folder}/a`, DICT);
    const buffer = new Float32Array(LARGE);
    const dict = { ...DICT, state: { 0: { momentum_buffer: buffer } } };
    const onProgress = ({ done }: Progress) => {
      if (done > 1 << 22 && !buffer.buffer.detached) buffer.buffer.transfer();
    };
    await assertRejects(
      () => saveState(`${folder}/a`, dict, { onProgress }),
      Error,
      "an array was detached meanwhile",
    );
    assertEquals(await loadState(`${folder}/a`), DICT);
  },
);

test("an array that is detached before it is its turn is named", ["a"], async (folder) => {
  await saveState(`${folder}/a`, DICT);
  const { param_names: _, ...group } = DICT.param_groups[0];
  const groups = [{ ...group, params: [0, 1] }];
  const buffers = [new Float32Array(LARGE), new Float32Array(4)];
  const state = { 0: { momentum_buffer: buffers[0] }, 1: { momentum_buffer: buffers[1] } };
  const onProgress = () => void (buffers[1].buffer.detached || buffers[1].buffer.transfer());
  await assertRejects(
    () => saveState(`${folder}/a`, { state, param_groups: groups }, { onProgress }),
    Error,
    'an array was detached meanwhile: it was that of "state.1.momentum_buffer"',
  );
  assertEquals(await loadState(`${folder}/a`), DICT);
});

test("saves to one path at the same time end in one of the files", ["a"], async (folder) => {
  const dicts = Array.from({ length: 20 }, (_, i) => stepped(i + 1).optimizer.stateDict());
  await Promise.all(dicts.map((dict) => saveState(`${folder}/a`, dict)));
  const found = await loadState(`${folder}/a`);
  assert(found.state[0].momentum_buffer!.length <= 20);
  assertEquals(found, dicts[found.state[0].momentum_buffer!.length - 1]);
});

test("the file is there as it was until the new one is whole", ["a"], async (folder) => {
  const { optimizer } = stepped(LARGE);
  await saveState(`${folder}/a`, DICT);
  const before = await Deno.readFile(`${folder}/a`);
  let seen = 0;
  const onProgress = () => {
    assertEquals(Deno.readFileSync(`${folder}/a`), before);
    seen++;
  };
  await saveState(`${folder}/a`, optimizer, { onProgress });
  assert(seen > 1);
  assertEquals(await loadState(`${folder}/a`), optimizer.stateDict());
});

for (const next of ["saveState", "loadState"] as const) {
  test(`what a killed process left is removed by the next ${next}`, ["a", "b"], async (folder) => {
    await saveState(`${folder}/a`, DICT);
    await saveState(`${folder}/b`, DICT);
    await Deno.writeTextFile(`${folder}/${await leftoverOf("a")}`, "half a file");
    if (next === "saveState") await saveState(`${folder}/a`, DICT);
    else await loadState(`${folder}/a`);
  });
}

/** What is not a file, under the name of a leftover. */
const STRANGERS: [string, (path: string) => Promise<unknown> | void, (string | false)?][] = [
  ["pipe", (path) => new Deno.Command("mkfifo", { args: [path] }).output(), withoutPipes],
  ["link to a pipe", async (path) => {
    await new Deno.Command("mkfifo", { args: [`${path}.pipe`] }).output();
    await Deno.symlink(`${path}.pipe`, path);
  }, withoutPipes],
  ["socket", async (path) => {
    // In a process of its own, as the tests may not listen at a path.
    const code = `const [path] = Deno.args;
      const socket = Deno.listen({ transport: "unix", path: path + ".socket" });
      Deno.renameSync(path + ".socket", path); // what has its old name is removed with it
      socket.close();`;
    await new Deno.Command(Deno.execPath(), { args: ["eval", code, path] }).output();
  }],
  ["folder", (path) => Deno.mkdir(path)],
  ["link to a device", (path) => Deno.symlink("/dev/zero", path)],
  ["link to nothing", (path) => Deno.symlink("nowhere", path)],
];

for (const [kind, make, missing = onWindows] of STRANGERS) {
  Deno.test({
    name: `a ${kind} under a leftover's name stops neither saving nor loading, and stays${
      missing ? ` (skipped: ${missing})` : ""
    }`,
    ignore: Boolean(missing),
    async fn() {
      const folder = await Deno.makeTempDir();
      const path = `${folder}/a`;
      await make(`${folder}/${await leftoverOf("a")}`);
      const before = filesIn(folder);
      assert(before.length > 0);
      // In processes of their own, which can be ended if they wait.
      const signal = AbortSignal.timeout(20_000);
      assertEquals((await saver(path, 2, 7, { signal }).output()).code, 0);
      const { stdout } = await script("loader.ts", [path], ["-A"], { signal }).output();
      assertEquals(new TextDecoder().decode(stdout), "8\n");
      assertEquals(filesIn(folder), [...before, "a"].sort());
      await Deno.remove(folder, { recursive: true });
    },
  });
}

test(
  "a file that another process is writing is not removed as a leftover",
  ["a"],
  async (folder) => {
    const { optimizer } = stepped(LARGE);
    await saveState(`${folder}/a`, DICT);
    let others = 0;
    const onProgress = () => {
      if (others++ === 1) assert(saver(`${folder}/a`, 1).outputSync().success);
    };
    await saveState(`${folder}/a`, optimizer, { onProgress });
    assertEquals(await loadState(`${folder}/a`), optimizer.stateDict());
  },
);

const SIMILAR = [".a.notes", await leftoverOf("a.b"), await leftoverOf("ab")].sort();

test("files of similar names stay", [...SIMILAR, "a"], async (folder) => {
  for (const name of SIMILAR) await Deno.writeTextFile(`${folder}/${name}`, "");
  await saveState(`${folder}/a`, DICT);
});

test("no file is NotFound, so that a first run can tell", [], async (folder) => {
  await assertRejects(() => loadState(`${folder}/a`), Deno.errors.NotFound, `${folder}/a`);
});

test("a directory in the file's place is named as the reason", ["a"], async (folder) => {
  await Deno.mkdir(`${folder}/a`);
  const path = `${folder}/a`;
  await assertRejects(
    () => saveState(path, DICT),
    CheckpointError,
    `Cannot save ${path}: it is a directory`,
  );
  await assertRejects(() => loadState(path), CheckpointError, "it is not a regular file");
});

test("a missing folder is named as the reason", [], async (folder) => {
  await assertRejects(
    () => saveState(`${folder}/no/a`, DICT),
    CheckpointError,
    `Cannot save ${folder}/no/a: No such file`,
  );
});

test("a pipe is refused, not waited for", ["a"], async (folder) => {
  await new Deno.Command("mkfifo", { args: [`${folder}/a`] }).output();
  for (const run of [() => loadState(`${folder}/a`), () => saveState(`${folder}/a`, DICT)]) {
    await assertRejects(run, CheckpointError, "it is not a regular file");
  }
}, withoutPipes);

test("a damaged file is refused with its name and the place", ["a"], async (folder) => {
  const bytes = encodeStateDict(DICT);
  const path = `${folder}/a`;
  for (const end of [0, 5, 8, 100, bytes.length - 1]) {
    await Deno.writeFile(path, bytes.subarray(0, end));
    await assertRejects(() => loadState(path), CheckpointError, `Cannot load ${path}: `);
  }
});

test("a file that shrinks while it is read is refused", ["a"], async (folder) => {
  const { optimizer } = stepped(LARGE);
  await saveState(`${folder}/a`, optimizer);
  const onProgress = ({ done }: Progress) => {
    if (done > 1 << 22) Deno.truncateSync(`${folder}/a`, 100);
  };
  await assertRejects(
    () => loadState(`${folder}/a`, { onProgress }),
    CheckpointError,
    "and was longer when opened",
  );
});

test("a terabyte that is not there takes no memory", ["a"], async (folder) => {
  const tensor = '"state.0.momentum_buffer":' +
    '{"dtype":"F32","shape":[250000000000],"data_offsets":[0,1000000000000]}';
  await Deno.writeFile(`${folder}/a`, fileOf(headerOf(tensor), 4));
  await assertRejects(() => loadState(`${folder}/a`), CheckpointError, "they have 1000000000000");
});

const WRONG: [string, () => Promise<unknown>, string][] = [
  ["no path", () => saveState("", DICT), "Cannot use path"],
  ["a URL of the web", () => loadState(new URL("https://a/b")), "file: URL"],
  [
    "a file: URL of another machine",
    () => saveState(new URL("file://elsewhere/a"), DICT),
    "must not name a host",
  ],
  [
    "a URL that does not decode",
    () => loadState(new URL("file:///a%ff")),
    "current value is file:",
  ],
  ["no state", () => saveState("a", null as unknown as StateDict), "current value is null"],
  [
    "a scheduler that is none",
    () => saveState("a", DICT, { scheduler: {} as StatefulScheduler }),
    "Cannot save the scheduler as it must have a stateDict",
  ],
  ["a misspelt option", () => saveState("a", DICT, { params: true } as object), 'option "params"'],
  ["a misspelt option of loading", () => loadState("a", { progress: 1 } as object), '"progress"'],
];

for (const [name, run, message] of WRONG) {
  Deno.test(`a call with ${name} is rejected`, async () => {
    await assertRejects(run, TypeError, message);
  });
}
