/** What the programs took, as tables in Markdown. */

import { formatNumber, formatTable, formatTime, withTimes } from "../text.ts";
import type { Workload } from "../workloads.ts";
import { ratioOf, type Result, ROOFLINE } from "./duel.ts";
import { descentOn, IN_TFJS, THREADS } from "./programs.ts";

/** All medians with their spread: a row per program, a column per workload. */
export function formatAll(workloads: readonly Workload[], results: readonly Result[]): string {
  const contenders = [...new Set(results.map(({ contender }) => contender))];
  const head = [
    withTimes("median, and spread of the quartiles"),
    ...workloads.map(({ name }) => name),
  ];
  return formatTable(
    head,
    contenders.map((contender) => [
      contender,
      ...workloads.map(({ name }) => {
        const result = find(results, name, contender);
        if (result === undefined) return "-";
        return `${formatTime(result.ns)} (${(100 * result.spread).toFixed(0)} %)`;
      }),
    ]),
  );
}

/** Descent against torch's fastest mode with any number of threads, the roofline, tfjs and the loop. */
export function formatSummary(workloads: readonly Workload[], results: readonly Result[]): string {
  const threads = THREADS.at(-1)!;
  const head = [
    ...[
      withTimes("work"),
      "torch at its fastest",
      `Descent, ${threads} threads`,
      "torch / Descent",
    ],
    ...["share of the roofline", "js / native", "tfjs / js", "loop / js"],
  ];
  return formatTable(
    head,
    workloads.map(({ name }) => {
      const of = (contender: string) => find(results, name, contender);
      const descent = of(descentOn(threads));
      const torch = fastestTorch(results, name);
      return [
        name,
        torch === undefined
          ? "-"
          : `${formatTime(torch.ns)} (${torch.contender.replace("torch, ", "")})`,
        descent === undefined ? "-" : formatTime(descent.ns),
        quotient(torch, descent),
        quotient(of(ROOFLINE), descent),
        quotient(of("Descent, js"), descent),
        quotient(of("tfjs, wasm"), of("Descent, js")),
        quotient(of("plain TypeScript loop"), of("Descent, js")),
      ];
    }),
  );
}

/** Descent as an optimizer of tfjs against tfjs's own, where tfjs can hold the workload. */
export function formatTfjs(workloads: readonly Workload[], results: readonly Result[]): string {
  const rows = workloads.flatMap(({ name }) => {
    const [own, copies, views] = ["", `, ${IN_TFJS.copies}`, `, ${IN_TFJS.views}`]
      .map((run) => find(results, name, `tfjs, wasm${run}`));
    if (own === undefined || copies === undefined || views === undefined) return [];
    const times = [own, copies, views].map(({ ns }) => formatTime(ns));
    return [[name, ...times, quotient(own, copies), quotient(own, views)]];
  });
  const ratios = ["tf.train.momentum / copies", "tf.train.momentum / views"];
  return formatTable(
    ["work in tfjs, wasm", "tf.train.momentum", IN_TFJS.copies, IN_TFJS.views, ...ratios],
    rows,
  );
}

/** Descent, torch at its fastest, tfjs and the plain loop, as far as one workload has them. */
export function chooseFour(results: readonly Result[], workload: string): Result[] {
  const names = [descentOn(THREADS.at(-1)!), "tfjs, wasm", "plain TypeScript loop"];
  const chosen = names.map((name) => find(results, workload, name));
  return [...chosen, fastestTorch(results, workload)].filter((result) => result !== undefined);
}

function find(results: readonly Result[], workload: string, contender: string) {
  return results.find((result) => result.workload === workload && result.contender === contender);
}

function fastestTorch(results: readonly Result[], workload: string) {
  return results
    .filter((result) => result.workload === workload && result.contender.startsWith("torch"))
    .sort((a, b) => a.ns - b.ns)
    .at(0);
}

function quotient(a: Result | undefined, b: Result | undefined): string {
  return a === undefined || b === undefined ? "-" : formatNumber(ratioOf(a, b));
}
