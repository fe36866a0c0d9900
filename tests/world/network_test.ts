/** Two machines, played by two network namespaces of Linux with a cable between them that is cut. */

import { assert, assertMatch } from "@std/assert";
import { fromFileUrl } from "@std/path/from-file-url";
import { join } from "@std/path/join";
import { temporaryFolder } from "../publish/stage.ts";
import { missing } from "./jobs.ts";

const ROOT = new URL("../../", import.meta.url);
const NAMES = ["descent-a", "descent-b"];
const HOSTS = ["10.77.8.1", "10.77.8.2"];

/** In place of ssh: runs a command in the namespace of a host. */
const AGENT = `#!/bin/sh
while [ "\${1#-}" != "$1" ]; do shift; done
host=$1; shift
case $host in ${HOSTS[0]}) name=${NAMES[0]};; *) name=${NAMES[1]};; esac
exec ip netns exec $name unshare -u sh -c "hostname $name; $*"
`;

const PROGRAM = `
import { SGD } from "${new URL("mod.ts", ROOT)}";
import { openWorld } from "${new URL("mpi.ts", ROOT)}";
using world = openWorld({ timeout: 3000 });
const w = { data: new Float32Array(100_000), grad: new Float32Array(100_000) };
const optimizer = new SGD([w], { lr: 1, momentum: 0.5, world });
if (world.localSize !== 1) throw new Error("the ranks are on one machine");
for (let i = 0; i < 1000; i++) {
  if (i === 5 && world.rank === 1) {
    new Deno.Command("ip", { args: ["link", "set", "cable-1", "down"] }).outputSync();
  }
  optimizer.step();
}
`;

function ip(...args: string[]): boolean {
  const { success } = new Deno.Command("ip", { args, stderr: "null", stdout: "null" }).outputSync();
  return success;
}

/** Makes both namespaces; false if this user cannot. */
function connect(): boolean {
  if (!NAMES.every((name) => ip("netns", "add", name))) return false;
  if (!ip("link", "add", "cable-0", "type", "veth", "peer", "name", "cable-1")) return false;
  return NAMES.every((name, i) =>
    ip("link", "set", `cable-${i}`, "netns", name) &&
    ip("-n", name, "addr", "add", `${HOSTS[i]}/24`, "dev", `cable-${i}`) &&
    ip("-n", name, "link", "set", "lo", "up") &&
    ip("-n", name, "link", "set", `cable-${i}`, "up")
  );
}

/** Ends what still runs in the namespaces, and removes them. */
function disconnect(): void {
  for (const name of NAMES) {
    const { stdout } = new Deno.Command("ip", { args: ["netns", "pids", name] }).outputSync();
    for (const pid of new TextDecoder().decode(stdout).split("\n").filter((it) => it !== "")) {
      Deno.kill(Number(pid), "SIGKILL");
    }
    ip("netns", "del", name);
  }
}

function isRoot(): boolean {
  const { stdout } = new Deno.Command("id", { args: ["-u"] }).outputSync();
  return new TextDecoder().decode(stdout).trim() === "0";
}

function findReason(): string | null {
  const reason = missing("MPICH");
  if (reason !== null) return reason;
  if (Deno.build.os !== "linux" || !isRoot()) return "it needs root on Linux";
  try {
    return connect() ? null : "no network namespaces here";
  } catch {
    return "ip is not installed";
  } finally {
    try {
      disconnect();
    } catch {
      // ip is not installed
    }
  }
}

const reason = findReason();

Deno.test({
  name: "MPICH: a network that is cut ends the job with a message" +
    (reason === null ? "" : ` (skipped: ${reason})`),
  ignore: reason !== null,
  async fn() {
    await using folder = await temporaryFolder();
    const [program, agent] = ["program.ts", "agent"].map((name) => join(folder.path, name));
    await Deno.writeTextFile(program, PROGRAM);
    await Deno.writeTextFile(agent, AGENT, { mode: 0o755 });
    assert(connect());
    const timer = setTimeout(disconnect, 20_000);
    try {
      const config = fromFileUrl(new URL("deno.json", ROOT));
      const start = performance.now();
      const { code, stderr } = await new Deno.Command("ip", {
        args: [
          ...["netns", "exec", NAMES[0], "mpiexec.mpich", "-launcher", "ssh"],
          ...["-launcher-exec", agent, "-hosts", HOSTS.join(), "-n", "2"],
          ...[Deno.execPath(), "run", "-A", "--no-check", "--config", config, program],
        ],
        env: { NO_COLOR: "1", UCX_TLS: "tcp,self" },
        stdin: "null",
      }).output();
      assert(code !== 0);
      assertMatch(
        new TextDecoder().decode(stderr),
        /some of 2 ranks have not answered rank \d for 3 s, the timeout of the world: all ranks/,
      );
      const milliseconds = performance.now() - start;
      assert(milliseconds > 3000 && milliseconds < 8000, `it took ${milliseconds} ms`);
    } finally {
      clearTimeout(timer);
      disconnect();
    }
  },
});
