/** Whether the texts of a picture can be read. */

import { assert, assertEquals } from "@std/assert";
import { DOMParser, type Element } from "@xmldom/xmldom";
import { widthOf } from "../../examples/picture/font.ts";

/** A text, and where it is drawn. */
export interface TextBox extends Box {
  readonly text: string;
  /** How far it is turned, in radians, and where it is if the picture is turned back so far. */
  readonly angle: number;
  readonly level: Box;
}

/** In pixels, the letters as wide as in DejaVu. */
interface Box {
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
}

/** Share of the font's size that letters reach above and below the middle of the line. */
const HALF = 0.4;

/** The boxes of all texts; a turned text has the box around it. */
export function readTexts(svg: string): TextBox[] {
  const document = new DOMParser().parseFromString(svg, "image/svg+xml");
  return Array.from(document.getElementsByTagName("text")).map(boxOf);
}

function boxOf(element: Element): TextBox {
  const text = element.textContent ?? "";
  const style = inherited(element, "style") ?? `font-family:${inherited(element, "font-family")}`;
  const size = Number(/font-size:([\d.]+)px/.exec(style)?.[1] ?? 16);
  const width = widthOf(text, style.replace(/font-size:[\d.]+px/, `${size}px`));
  const anchor = inherited(element, "text-anchor") ?? "start";
  const start = { start: 0, middle: -width / 2, end: -width }[anchor]!;
  const [x, y] = ["x", "y"].map((name) => Number(element.getAttribute(name) ?? 0));
  const lift = element.getAttribute("dy") === null ? 0.35 * size : 0;
  const matrix = matrixOf(element.getAttribute("transform"));
  const corners = [start, start + width].flatMap((dx) =>
    [-HALF * size, HALF * size].map((dy) => apply(matrix, x + dx, y + dy - lift))
  );
  const angle = Math.atan2(matrix[1], matrix[0]);
  const back = [Math.cos(angle), -Math.sin(angle), Math.sin(angle), Math.cos(angle), 0, 0];
  const level = boundsOf(corners.map(([x, y]) => apply(back, x, y)));
  return { text, ...boundsOf(corners), angle, level };
}

function boundsOf(points: readonly [x: number, y: number][]): Box {
  const [xs, ys] = [points.map(([x]) => x), points.map(([, y]) => y)];
  const [left, top] = [Math.min(...xs), Math.min(...ys)];
  return { left, right: Math.max(...xs), top, bottom: Math.max(...ys) };
}

function inherited(element: Element, name: string): string | null {
  for (let one: Element | null = element; one !== null; one = one.parentElement) {
    const value = one.getAttribute(name);
    if (value !== null) return value;
  }
  return null;
}

/** The six numbers of SVG's matrix. */
function matrixOf(transform: string | null): number[] {
  if (transform === null) return [1, 0, 0, 1, 0, 0];
  const [, kind, list] = /^(matrix|translate)\((.*)\)$/.exec(transform)!;
  const numbers = list.split(/[ ,]+/).map(Number);
  return kind === "matrix" ? numbers : [1, 0, 0, 1, numbers[0], numbers[1] ?? 0];
}

function apply([a, b, c, d, e, f]: readonly number[], x: number, y: number): [number, number] {
  return [a * x + c * y + e, b * x + d * y + f];
}

/** The boxes of the samples in legends: what is moved as a whole, and seen. */
function readSamples(svg: string): Box[] {
  const document = new DOMParser().parseFromString(svg, "image/svg+xml");
  return Array.from(document.getElementsByTagName("path"))
    .filter((path) => path.getAttribute("transform")?.startsWith("translate") && isSeen(path))
    .map((path) => {
      const matrix = matrixOf(path.getAttribute("transform"));
      const points = pointsOf(path.getAttribute("d")!);
      const box = boundsOf(points.map(([x, y]) => apply(matrix, x, y)));
      return { ...box, top: box.top - 1, bottom: box.bottom + 1 };
    });
}

/** Areas that react to the mouse, and white ones behind texts, are not seen. */
function isSeen(path: Element): boolean {
  const [fill, stroke] = ["fill", "stroke"].map((name) => path.getAttribute(name));
  if (path.getAttribute("fill-opacity") === "0") return false;
  return fill !== "#ffffff" && (fill !== "none" || stroke !== null);
}

/** The ends of a path's lines and arcs. */
function pointsOf(d: string): [x: number, y: number][] {
  const points: [number, number][] = [];
  for (const [, command, list] of d.matchAll(/([MLlA])([^A-Za-z]*)/g)) {
    const [x, y] = list.trim().split(/[ ,]+/).slice(-2).map(Number);
    const [fromX, fromY] = command === "l" ? points.at(-1)! : [0, 0];
    points.push([fromX + x, fromY + y]);
  }
  return points;
}

/** Asserts that all texts lie within the picture, and none over another or over a legend's sample. */
export function assertReadable(svg: string): void {
  const [, ...size] = /viewBox="0 0 ([\d.]+) ([\d.]+)"/.exec(svg) ?? [];
  const [width, height] = size.map(Number);
  assert(width > 0 && height > 0, "the picture has a viewBox");
  const boxes = readTexts(svg);
  assert(boxes.length > 0, "the picture has texts");
  const outside = boxes.filter(({ left, right, top, bottom }) =>
    left < 0 || right > width || top < 0 || bottom > height
  );
  assertEquals(outside, [], "texts leave the picture");
  const collisions = boxes.flatMap((a, i) =>
    boxes.slice(i + 1).filter((b) => collide(a, b)).map((b) => [a, b])
  );
  assertEquals(collisions, [], "texts collide");
  const samples = readSamples(svg);
  const covering = boxes.filter((box) => samples.some((sample) => overlap(box, sample)));
  assertEquals(covering, [], "texts cover samples of a legend");
  assert(!svg.includes("dominant-baseline"), "some viewers put such texts beside their ticks");
}

/** Texts that are turned alike are compared as if they were level. */
function collide(a: TextBox, b: TextBox): boolean {
  return a.angle === b.angle ? overlap(a.level, b.level) : overlap(a, b);
}

function overlap(a: Box, b: Box): boolean {
  return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
}
