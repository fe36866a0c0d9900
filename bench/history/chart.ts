/** The history as a chart: one panel per workload, a line per row, a number at each step. */

import { drawSvg } from "../svg.ts";
import { WORKLOADS } from "../workloads.ts";
import { findSteps, type Series, seriesOf } from "./changes.ts";
import type { Entry } from "./entries.ts";
import { type CommitSteps, describeCommit, describeStep, groupSteps } from "./report.ts";

const WIDTH = 1100;
const [LEFT, RIGHT] = [70, 315];
/** The title of the chart, and of a panel. */
const [HEAD, TITLE] = [76, 34];
/** Room for the hashes below a panel, and between panels. */
const [HASHES, GAP] = [66, 24];
const LINE = 15;
const LEAST_HEIGHT = 200;
/** About so many characters fit into the width of a line of text. */
const CHARACTERS = 175;
const [WORSE, BETTER, TEXT] = ["#c0392b", "#2f8f5b", "#222222"];
const COLORS: readonly string[] = [
  ...["#1b6ec2", "#d1662a", "#7a4fb5", "#b8860b", "#0f8b8d"],
  ...["#c2417c", "#5c6b73", "#6a8f1f", "#8c4b2f", "#3f51b5"],
];

/** Whose time a row is divided by, where the name of the reference does not say it. */
const REFERENCES: Readonly<Record<string, string>> = {
  "itself before": "its own before other optimizers stepped",
};

/** A panel, and where it lies. */
interface Panel {
  readonly name: string;
  readonly series: readonly Series[];
  readonly marks: readonly CommitSteps[];
  /** The lines beneath it, which name its steps. */
  readonly names: readonly string[];
  readonly top: number;
  readonly height: number;
}

/** Draws what was measured on one processor, the entries in the order of their commits. */
export function drawHistory(processor: string, entries: readonly Entry[]): string {
  const panels = layOut(entries);
  const last = panels.at(-1)!;
  const commits = entries.map(({ commit }) => commit.slice(0, 7));
  return drawSvg(WIDTH, endOf(last), {
    color: COLORS,
    title: [
      {
        text: "Steps over the commits: times the reference's time, less is better",
        subtext: `${processor}, ${entries.length} commits, ${entries[0].date.slice(0, 10)} to ${
          entries.at(-1)!.date.slice(0, 10)
        }; rings: the machine was busy`,
        left: "center",
        top: 12,
      },
      ...panels.map(({ name, series, top }) => ({
        text: `${name}: times ${referencesOf(series)}`,
        left: 12,
        top: top - 28,
        textStyle: { fontSize: 14 },
      })),
    ],
    legend: panels.map(legend),
    grid: panels.map(({ top, height }) => ({ left: LEFT, right: RIGHT, top, height })),
    xAxis: panels.map((_, gridIndex) => commitAxis(commits, gridIndex)),
    yAxis: panels.map(({ series }, gridIndex) => ratioAxis(series, gridIndex)),
    series: panels.flatMap((panel, i) => [...lines(panel, entries, i), marks(panel, entries, i)]),
    graphic: panels.flatMap(stepNames),
  });
}

function layOut(entries: readonly Entry[]): Panel[] {
  const all = seriesOf(entries);
  const panels: Panel[] = [];
  for (const name of workloadsOf(all)) {
    const series = all.filter(({ row }) => workloadOf(row) === name);
    const marks = groupSteps(series.flatMap(findSteps));
    const top = (panels.length === 0 ? HEAD : endOf(panels.at(-1)!)) + TITLE;
    const height = Math.max(LEAST_HEIGHT, series.length * LINE);
    const names = marks.flatMap(({ at, steps }, i) =>
      wrap(
        `${i + 1}  ${describeCommit(at)}`,
        steps.map((s) => `${labelOf(s.row)} ${describeStep(s)}`),
      )
    );
    panels.push({ name, series, marks, names, top, height });
  }
  return panels;
}

function endOf({ top, height, names }: Panel): number {
  return top + height + HASHES + names.length * LINE + GAP;
}

/** Today's workloads in their order, and then those that only past commits had. */
function workloadsOf(series: readonly Series[]): string[] {
  const present = new Set(series.map(({ row }) => workloadOf(row)));
  return [...new Set([...WORKLOADS.map(({ name }) => name), ...present])]
    .filter((name) => present.has(name));
}

function workloadOf(row: string): string {
  return row.slice(0, row.indexOf(": "));
}

/** The row within its panel; what most rows have in common is left out. */
function labelOf(row: string): string {
  return row.slice(row.indexOf(": ") + 2).replace(", foreach true", "");
}

function referencesOf(series: readonly Series[]): string {
  const texts = new Set(
    series.map(({ reference }) => REFERENCES[reference] ?? `the ${reference}'s`),
  );
  return [...texts].join(" or ");
}

function legend({ series, top }: Panel) {
  return {
    orient: "vertical",
    left: WIDTH - RIGHT + 14,
    top: top - 6,
    itemGap: 1,
    itemWidth: 18,
    textStyle: { fontSize: 11, color: TEXT },
    data: series.map(nameOf),
    formatter: (name: string) => labelOf(name.slice(0, name.lastIndexOf(" / "))),
  };
}

function nameOf({ row, reference }: Series): string {
  return `${row} / ${reference}`;
}

function commitAxis(commits: readonly string[], gridIndex: number) {
  return {
    gridIndex,
    type: "category",
    data: commits,
    boundaryGap: false,
    axisLabel: { rotate: 60, fontSize: 10, fontFamily: "monospace" },
  };
}

function ratioAxis(series: readonly Series[], gridIndex: number) {
  const ratios = series.flatMap(({ points }) => points.map(({ ratio }) => ratio));
  const [low, high] = [Math.min(...ratios), Math.max(...ratios)];
  const axis = {
    gridIndex,
    axisLabel: {
      formatter: (ratio: number) => String(Number(ratio.toPrecision(3))),
      showMinLabel: false,
      showMaxLabel: false,
    },
    splitLine: { lineStyle: { color: "#e6e9ec" } },
  };
  if (high < 2 * low) return { ...axis, type: "value", scale: true };
  return { ...axis, type: "log", logBase: 2, min: 0.95 * low, max: 1.05 * high };
}

function lines({ series }: Panel, entries: readonly Entry[], axis: number) {
  return series.map((one, i) => ({
    name: nameOf(one),
    type: "line",
    xAxisIndex: axis,
    yAxisIndex: axis,
    color: COLORS[i % COLORS.length],
    symbol: i < COLORS.length ? "circle" : "rect",
    symbolSize: 4,
    lineStyle: { width: 1.4, type: i < COLORS.length ? "solid" : "dashed" },
    data: one.points.map(({ at, ratio, busy }) => ({
      value: [indexOf(entries, at.commit), ratio],
      ...(busy ? { symbol: "emptyCircle", symbolSize: 7 } : {}),
    })),
  }));
}

/** Numbers at the steps; one that is not confirmed is hollow. */
function marks({ marks }: Panel, entries: readonly Entry[], axis: number) {
  return {
    type: "scatter",
    xAxisIndex: axis,
    yAxisIndex: axis,
    symbolSize: 15,
    z: 5,
    data: marks.flatMap(({ at, steps }, i) =>
      steps.map(({ before, after, confirmed }) => {
        const color = after > before ? WORSE : BETTER;
        return {
          value: [indexOf(entries, at.commit), after],
          itemStyle: { color: confirmed ? color : "#ffffff", borderColor: color, borderWidth: 1.5 },
          label: {
            show: true,
            formatter: String(i + 1),
            color: confirmed ? "#ffffff" : color,
            fontSize: 10,
          },
        };
      })
    ),
  };
}

function stepNames({ names, top, height }: Panel) {
  return names.map((text, i) => ({
    type: "text",
    left: 24,
    top: top + height + HASHES + i * LINE,
    style: { text, fontSize: 11, fill: TEXT, fontFamily: "sans-serif" },
  }));
}

function indexOf(entries: readonly Entry[], commit: string): number {
  return entries.findIndex((entry) => entry.commit === commit);
}

/** A line, and lines of parts beneath it, as many in each as fit. */
function wrap(first: string, parts: readonly string[]): string[] {
  const lines = [`${first}:`];
  for (const part of parts) {
    const joined = `${lines.at(-1)!}; ${part}`;
    if (lines.length > 1 && joined.length <= CHARACTERS) lines[lines.length - 1] = joined;
    else lines.push(`      ${part}`);
  }
  return lines;
}
