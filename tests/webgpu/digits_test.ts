/** The digits in Deno and in a browser: the same losses, and the page of the example. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { fromFileUrl } from "@std/path/from-file-url";
import { bundlePage, servePage } from "../../examples/browser.ts";
import { readDigits } from "../../examples/digits/dataset.ts";
import type { EpochResult } from "../../examples/digits/plot.ts";
import { chromium, Page, runInBrowser } from "../support/browser.ts";
import { assertDraws, deno, readCurves, readEpochs, train } from "../support/demo_runs.ts";
import { trainBriefly } from "./digits_run.ts";

const adapter = await navigator.gpu?.requestAdapter() ?? null;
const noBrowser = chromium === undefined ? "no Chromium or Chrome" : null;
const noAdapter = adapter === null ? "WebGPU finds no adapter" : null;

function test(name: string, reason: string | null, fn: () => Promise<void>): void {
  const ignore = reason !== null;
  Deno.test({ name: ignore ? `${name} (skipped: ${reason})` : name, ignore, fn });
}

/** WGSL leaves the last bits of `exp` and `log` to the device. */
const CLOSE = 1e-5;

function assertClose(actual: readonly EpochResult[], expected: readonly EpochResult[]): void {
  assertEquals(actual.length, expected.length);
  actual.forEach((result, i) => {
    for (const name of ["trainLoss", "testLoss"] as const) {
      const error = Math.abs(result[name] - expected[i][name]);
      assert(error < CLOSE, `${name} of epoch ${i + 1}: ${result[name]}, not ${expected[i][name]}`);
    }
    assertEquals(result.testAccuracy, expected[i].testAccuracy);
  });
}

test(
  "the digits in a browser: the js backend has Deno's losses to the last digit, WebGPU is near",
  noBrowser,
  async () => {
    const digits = await readDigits();
    const text = await Deno.readTextFile(
      new URL("../../examples/digits/data/digits.txt", import.meta.url),
    );
    const page = fromFileUrl(new URL("digits_page.ts", import.meta.url));
    const { js, webgpu } = await runInBrowser(page, { "/digits.txt": text }) as Record<
      "js" | "webgpu",
      EpochResult[]
    >;
    const host = await trainBriefly("js", digits);
    assertEquals(js, host);
    assertClose(webgpu, host);
    assert(js[0].trainLoss > 2 * js[3].trainLoss, "it learns");
  },
);

test("the digits on Deno's WebGPU have the losses of the js backend", noAdapter, async () => {
  const digits = await readDigits();
  assertClose(await trainBriefly("webgpu", digits), await trainBriefly("js", digits));
});

test("the page of deno task demo:browser trains to 96 % and draws it", noBrowser, async () => {
  await using server = servePage(await bundlePage(), 0);
  const { port } = server.addr as Deno.NetAddr;
  await using page = await Page.open(`http://127.0.0.1:${port}/?js`);
  const status = `document.getElementById("status").textContent`;
  await page.until(`/^epoch 30\\/30|^Cannot/.test(${status})`);
  const text = await page.evaluate(status) as string;
  assertMatch(text, /^epoch 30\/30 {2}loss 0\.\d+ {2}test loss 0\.\d+ {2}test accuracy /);
  assert(Number(text.match(/accuracy +(\S+) %/)?.[1]) >= 96, text);
  const svg = await page.evaluate(`document.querySelector("#curves svg").outerHTML`);
  const curves = readCurves(svg as string);
  assertEquals(curves.map(({ length }) => length), [30, 30, 30]);
});

test("the same page on WebGPU trains on it, and draws what it printed", noBrowser, async () => {
  await using server = servePage(await bundlePage(), 0);
  const { port } = server.addr as Deno.NetAddr;
  await using page = await Page.open(`http://127.0.0.1:${port}/?epochs=3`);
  const status = `document.getElementById("status").textContent`;
  await page.until(`/^epoch 3\\/3|^Cannot/.test(${status})`);
  const text = await page.evaluate(status) as string;
  assertMatch(text, /^epoch 3\/3 {2}loss 0\.\d+ {2}test loss 0\.\d+ {2}test accuracy /);
  assertEquals(await page.evaluate(`document.getElementById("place").value`), "webgpu");
  const expected = (await trainBriefly("js", await readDigits()))[2];
  const shown = (expected.testAccuracy * 100).toFixed(2);
  assert(text.includes(shown), `${text}, not ${shown}`);
  const svg = await page.evaluate(`document.querySelector("#curves svg").outerHTML`);
  assertEquals(readCurves(svg as string).map(({ length }) => length), [3, 3, 3]);
});

test(
  "deno task demo:gpu --webgpu recognizes 96 % and draws what it printed",
  noAdapter,
  async () => {
    const { out, svg } = await train("demo:gpu", "--webgpu");
    const { loss, testLoss, accuracy } = readEpochs(out);
    assertEquals(accuracy.length, 30);
    assert(accuracy.at(-1)! >= 96, out);
    const [lossCurve, testLossCurve, accuracyCurve] = readCurves(svg);
    assertDraws(lossCurve, loss.map(Math.log));
    assertDraws(testLossCurve, testLoss.map(Math.log));
    assertDraws(accuracyCurve, accuracy);
    assert(out.includes(`on ${adapter!.info.description} (WebGPU)`), out);
  },
);

Deno.test("deno task demo:browser --help describes every option, and a bad port is refused", async () => {
  const help = await deno(["task", "-q", "demo:browser", "--help"]);
  assertEquals(help.code, 0);
  for (const name of ["port", "help"]) assertMatch(help.out, RegExp(`--${name}\\b`));
  const { code, err } = await deno(["task", "-q", "demo:browser", "--port", "x"]);
  assertEquals(code, 2);
  assertMatch(err, /^Cannot read --port as it must be/m);
});
