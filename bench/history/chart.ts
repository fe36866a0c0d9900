/** The history as a chart: one panel per workload, a line per row, a number at each step. */

import { widthOf } from "../../examples/picture/font.ts";
import { drawSvg } from "../svg.ts";
import { WORKLOADS } from "../workloads.ts";
import { areTurned, commitAxis, ratioAxis } from "./axes.ts";
import { findSteps, type Series, seriesOf } from "./changes.ts";
import type { Entry } from "./entries.ts";
import { labelOf, legendOf, referencesOf, settingOf, workloadOf } from "./names.ts";
import { type CommitSteps, describeCommit, describeStep, groupSteps } from "./report.ts";

const WIDTH = 1100;
const LEFT = 70;
/** The title of the chart, and of a panel. */
const [HEAD, TITLE] = [76, 44];
/** Room for the hashes below a panel, level or turned, and between panels. */
const [HASHES, TURNED_HASHES, GAP] = [36, 66, 24];
const LINE = 15;
const LEAST_HEIGHT = 200;
/** The texts of legends and below panels. */
const FONT_SIZE = 11;
/** The line of a legend that stands for a series. */
const SAMPLE = 34;
const [WORSE, BETTER, TEXT] = ["#c0392b", "#2f8f5b", "#222222"];
const COLORS: readonly string[] = [
  ...["#1b6ec2", "#d1662a", "#7a4fb5", "#b8860b", "#0f8b8d"],
  ...["#c2417c", "#5c6b73", "#6a8f1f", "#8c4b2f", "#3f51b5"],
  ...["#e08e79", "#17becf", "#222222", "#a5a11b"],
];

/** A panel, and where it lies. */
interface Panel {
  readonly name: string;
  readonly series: readonly Series[];
  readonly marks: readonly CommitSteps[];
  /** The lines beneath it, which name its steps. */
  readonly names: readonly string[];
  readonly top: number;
  readonly height: number;
  /** The room for the hashes below it. */
  readonly foot: number;
}

/** Where the panels lie, and what they share. */
interface Sheet {
  readonly entries: readonly Entry[];
  readonly panels: readonly Panel[];
  /** Each has a color of its own, the same in all panels. */
  readonly settings: readonly string[];
  /** The width of the panels, which leaves room for the longest name of a legend. */
  readonly width: number;
}

/** Draws what was measured on one processor, the entries in the order of their commits. */
export function drawHistory(processor: string, entries: readonly Entry[]): string {
  const sheet = layOut(entries);
  const { panels, width } = sheet;
  const commits = entries.map(({ commit }) => commit.slice(0, 7));
  return drawSvg(WIDTH, endOf(panels.at(-1)!), {
    title: [headOf(processor, entries), ...panels.map(titleOf)],
    legend: panels.map((panel) => legend(panel, width)),
    grid: panels.map(({ top, height }) => ({ left: LEFT, width, top, height })),
    xAxis: panels.map((_, gridIndex) => commitAxis(commits, gridIndex, width)),
    yAxis: panels.map(({ series }, gridIndex) => ratioAxis(series, gridIndex)),
    series: panels.flatMap((panel, i) => [...lines(panel, sheet, i), marks(panel, entries, i)]),
    graphic: panels.flatMap((panel) => [...stepNumbers(panel, sheet), ...stepNames(panel)]),
  });
}

function headOf(processor: string, entries: readonly Entry[]) {
  const [first, last] = [entries[0], entries.at(-1)!].map(({ date }) => date.slice(0, 10));
  const key = "float32 if no type is named; dashed: js; rings: the machine was busy";
  return {
    text: "Steps over the commits: times the reference's time, less is better",
    subtext: `${processor}, ${entries.length} commits, ${first} to ${last}; ${key}`,
    left: "center",
    top: 12,
  };
}

function titleOf({ name, series, top }: Panel) {
  const text = `${name}: times ${referencesOf(series)}`;
  return { text, left: 12, top: top - TITLE + 2, textStyle: { fontSize: 14 } };
}

function layOut(entries: readonly Entry[]): Sheet {
  const all = seriesOf(entries);
  const lists = workloadsOf(all).map((name) => all.filter(({ row }) => workloadOf(row) === name));
  const labels = lists.flatMap((series) => series.map((one) => legendOf(one, series)));
  const longest = Math.max(...labels.map((label) => widthOf(label, `${FONT_SIZE}px`)));
  const width = Math.floor(WIDTH - LEFT - 2 * GAP - SAMPLE - longest);
  const foot = areTurned(entries.length, width) ? TURNED_HASHES : HASHES;
  const panels: Panel[] = [];
  for (const series of lists) {
    const top = (panels.length === 0 ? HEAD : endOf(panels.at(-1)!)) + TITLE;
    panels.push({ ...describe(series), top, foot });
  }
  const settings = [...new Set(all.map(({ row }) => settingOf(row)))];
  return { entries, panels, settings, width };
}

/** What a panel has, wherever it lies. */
function describe(series: readonly Series[]): Omit<Panel, "top" | "foot"> {
  const marks = groupSteps(series.flatMap(findSteps));
  const names = marks.flatMap(({ at, steps }, i) =>
    wrap(
      `${i + 1}  ${describeCommit(at)}`,
      steps.map((s) => `${labelOf(s.row)} ${describeStep(s)}`),
    )
  );
  const height = Math.max(LEAST_HEIGHT, series.length * LINE);
  return { name: workloadOf(series[0].row), series, marks, names, height };
}

function endOf({ top, height, foot, names }: Panel): number {
  return top + height + foot + names.length * LINE + GAP;
}

/** Today's workloads in their order, and then those that only past commits had. */
function workloadsOf(series: readonly Series[]): string[] {
  const present = new Set(series.map(({ row }) => workloadOf(row)));
  return [...new Set([...WORKLOADS.map(({ name }) => name), ...present])]
    .filter((name) => present.has(name));
}

function legend({ series, top }: Panel, width: number) {
  const labels = new Map(series.map((one) => [nameOf(one), legendOf(one, series)]));
  return {
    orient: "vertical",
    left: LEFT + width + GAP - 8,
    top: top - 6,
    itemGap: 1,
    itemWidth: SAMPLE - 8,
    itemHeight: 5,
    textStyle: { fontSize: FONT_SIZE, color: TEXT },
    data: [...labels.keys()],
    formatter: (name: string) => labels.get(name)!,
  };
}

function nameOf({ row, reference }: Series): string {
  return `${row} / ${reference}`;
}

/** The lines of a panel: the color says what a step computes, dashes that it is on \`js\`. */
function lines({ series }: Panel, { entries, settings }: Sheet, axis: number) {
  return series.map((one) => {
    const setting = settings.indexOf(settingOf(one.row));
    const isJs = labelOf(one.row).startsWith("js");
    return {
      name: nameOf(one),
      type: "line",
      xAxisIndex: axis,
      yAxisIndex: axis,
      color: COLORS[setting % COLORS.length],
      symbol: setting < COLORS.length ? "circle" : "rect",
      symbolSize: 4,
      lineStyle: { width: 1.4, type: isJs ? "dashed" : "solid" },
      data: one.points.map(({ at, ratio, busy }) => ({
        value: [indexOf(entries, at.commit), ratio],
        ...(busy ? { symbol: "emptyCircle", symbolSize: 7 } : {}),
      })),
    };
  });
}

/** Dots at the steps; one that is not confirmed is hollow. */
function marks({ marks }: Panel, entries: readonly Entry[], axis: number) {
  return {
    type: "scatter",
    xAxisIndex: axis,
    yAxisIndex: axis,
    symbolSize: 9,
    z: 5,
    data: marks.flatMap(({ at, steps }) =>
      steps.map(({ before, after, confirmed }) => {
        const borderColor = after > before ? WORSE : BETTER;
        return {
          value: [indexOf(entries, at.commit), after],
          itemStyle: { color: confirmed ? borderColor : "#ffffff", borderColor, borderWidth: 1.5 },
        };
      })
    ),
  };
}

/** A number above each commit that has steps, and a line down through its dots. */
function stepNumbers({ marks, top, height }: Panel, { entries, width }: Sheet) {
  return marks.flatMap(({ at }, i) => {
    const x = LEFT + width * indexOf(entries, at.commit) / (entries.length - 1);
    const style = { text: String(i + 1), fill: TEXT, textAlign: "center", fontWeight: "bold" };
    return [
      {
        type: "line",
        silent: true,
        shape: { x1: x, y1: top, x2: x, y2: top + height },
        style: { stroke: "#98a2ad", lineDash: [2, 3] },
      },
      { type: "text", x, y: top - 14, style: { ...style, fontSize: FONT_SIZE } },
    ];
  });
}

function stepNames({ names, top, height, foot }: Panel) {
  return names.map((text, i) => ({
    type: "text",
    left: 24,
    top: top + height + foot + i * LINE,
    style: { text, fontSize: FONT_SIZE, fill: TEXT, fontFamily: "sans-serif" },
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
    const fits = widthOf(joined, `${FONT_SIZE}px`) <= WIDTH - 3 * GAP;
    if (lines.length > 1 && fits) lines[lines.length - 1] = joined;
    else lines.push(`      ${part}`);
  }
  return lines;
}
