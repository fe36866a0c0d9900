/**
 * Two machines, played by two network namespaces of Linux with a cable between them: a pair of `veth`.
 * It takes root and `ip`, of the package iproute2.
 */

import { join } from "@std/path/join";

/** Two machines. They are gone when this is disposed of, with everything that runs in them. */
export interface Machines extends Disposable {
  /** Their addresses. */
  readonly hosts: readonly string[];
  /** The network of these. */
  readonly network: string;
  /** Their network cards. */
  readonly cards: readonly string[];
  /** A folder for temporary files, which goes with them: killed launchers leave some. */
  readonly folder: string;
  /** The file of a program in place of ssh: it runs a command on one of them, given by its address. */
  readonly agent: string;
  /** What a command begins with, so that it runs on one of them. */
  readonly enter: (machine: number) => readonly string[];
  /** How many bytes the first one has sent to the other. */
  readonly sentBytes: () => number;
  /** The names of the programs that run on both. */
  readonly programs: () => readonly string[];
}

const HOSTS = ["10.77.8.1", "10.77.8.2"];
const NETWORK = "10.77.8.0/24";
const CARDS = ["cable-0", "cable-1"];

/** Why this process cannot have such machines; null if it can. */
export function whyNoMachines(): string | null {
  if (Deno.build.os !== "linux" || !isRoot()) return "it needs root on Linux";
  try {
    connect().disconnect();
    return null;
  } catch (error) {
    return error instanceof Deno.errors.NotFound
      ? "ip is not installed"
      : "no network namespaces here";
  }
}

/**
 * Makes two machines.
 *
 * @param megabits What the cable carries per second in each direction; without it, what it can.
 */
export function openMachines(megabits?: number): Machines {
  const { names, disconnect } = connect();
  const folder = Deno.makeTempDirSync({ prefix: "descent-machines-" });
  let isOpen = true;
  const close = () => {
    if (!isOpen) return;
    isOpen = false;
    disconnect();
    Deno.removeSync(folder, { recursive: true });
  };
  try {
    if (megabits !== undefined) { for (const i of [0, 1]) limit(names[i], CARDS[i], megabits); }
    const agent = join(folder, "agent");
    Deno.writeTextFileSync(agent, agentOf(names), { mode: 0o755 });
    return {
      ...{ hosts: HOSTS, network: NETWORK, cards: CARDS, folder, agent },
      enter: (machine) => ["ip", "netns", "exec", names[machine]],
      sentBytes: () => statusOf(names[0], CARDS[0]).stats64.tx.bytes,
      programs: () => names.flatMap(pidsIn).map(programOf).filter((name) => name !== null),
      [Symbol.dispose]: close,
    };
  } catch (error) {
    close();
    throw error;
  }
}

/** A host name of its own keeps a library of MPI from taking both for one machine. */
function agentOf(names: readonly string[]): string {
  return `#!/bin/sh
while [ "\${1#-}" != "$1" ]; do shift; done
host=$1; shift
case $host in ${HOSTS[0]}) name=${names[0]};; *) name=${names[1]};; esac
exec ip netns exec $name unshare -u sh -c "hostname $name; $*"
`;
}

let count = 0;

function connect() {
  const names = ["a", "b"].map((letter) => `descent-${Deno.pid}-${count}-${letter}`);
  count++;
  const disconnect = () => names.forEach(remove);
  try {
    for (const name of names) run("ip", "netns", "add", name);
    const [[first, second], [a, b]] = [CARDS, names];
    const ends = ["type", "veth", "peer", "name", second, "netns", b];
    run("ip", "-n", a, "link", "add", first, ...ends);
    for (const i of [0, 1]) {
      run("ip", "-n", names[i], "addr", "add", `${HOSTS[i]}/24`, "dev", CARDS[i]);
      for (const card of ["lo", CARDS[i]]) run("ip", "-n", names[i], "link", "set", card, "up");
    }
    for (const i of [0, 1]) waitForCard(names[i], CARDS[i]);
    return { names, disconnect };
  } catch (error) {
    disconnect();
    throw error;
  }
}

/** Waits until the system calls a card up, which takes a while: UCX leaves out those that are not. */
function waitForCard(name: string, card: string): void {
  const end = performance.now() + 5000;
  while (statusOf(name, card).operstate !== "UP") {
    if (performance.now() > end) throw new Error(`Cannot use ${card} as it does not come up`);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
  }
}

function pidsIn(name: string): number[] {
  return run("ip", "netns", "pids", name).split("\n").filter((it) => it !== "").map(Number);
}

/** The name of a process's program; null if it has just ended. */
function programOf(pid: number): string | null {
  try {
    return Deno.readTextFileSync(`/proc/${pid}/comm`).trim();
  } catch {
    return null;
  }
}

/** Ends what still runs in a namespace, and removes it. */
function remove(name: string): void {
  try {
    for (const pid of pidsIn(name)) {
      try {
        Deno.kill(pid, "SIGKILL");
      } catch {
        // it has just ended
      }
    }
    run("ip", "netns", "del", name);
  } catch {
    // it has not been made
  }
}

/**
 * Limits what a card sends. A pause earns it few bytes that may be sent at once, or short messages
 * would be faster than the cable.
 */
function limit(name: string, card: string, megabits: number): void {
  const burst = `${Math.max(128, Math.ceil(megabits / 8))}kb`;
  const rate = ["rate", `${megabits}mbit`, "burst", burst, "latency", "50ms"];
  run("ip", "netns", "exec", name, "tc", "qdisc", "add", "dev", card, "root", "tbf", ...rate);
}

/** What `ip` knows of a card. */
function statusOf(name: string, card: string) {
  return JSON.parse(run("ip", "-n", name, "-s", "-j", "link", "show", "dev", card))[0];
}

function isRoot(): boolean {
  return run("id", "-u").trim() === "0";
}

/** What a program prints. */
function run(program: string, ...args: string[]): string {
  const { success, stdout, stderr } = new Deno.Command(program, { args }).outputSync();
  if (!success) {
    const reason = new TextDecoder().decode(stderr).trim();
    throw new Error(`Cannot run ${[program, ...args].join(" ")} as it fails: ${reason}`);
  }
  return new TextDecoder().decode(stdout);
}
