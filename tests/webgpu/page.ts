/** The suite as a page: it posts how each case went. */

import { CASES } from "./suite/cases.ts";
import { probe } from "./suite/traits.ts";
import { openDevice } from "./suite/world.ts";

/** What a page says of the suite. */
export interface PageResult {
  /** How the device computes; null if the browser finds none. */
  readonly traits: Awaited<ReturnType<typeof probe>> | null;
  readonly adapter: string;
  readonly cases: readonly { readonly name: string; readonly error: string | null }[];
}

async function runAll(): Promise<PageResult> {
  const adapter = await navigator.gpu?.requestAdapter() ?? null;
  if (adapter === null) return { traits: null, adapter: "", cases: [] };
  const device = await openDevice();
  const traits = await probe(device);
  device.destroy();
  const cases: { name: string; error: string | null }[] = [];
  for (const { name, feature, run } of CASES.filter(({ isSlow }) => !isSlow)) {
    if (feature !== undefined && !adapter.features.has(feature)) continue;
    try {
      await run({ traits, open: openDevice });
      cases.push({ name, error: null });
    } catch (error) {
      cases.push({ name, error: String((error as Error)?.stack ?? error) });
    }
  }
  const { vendor, architecture } = adapter.info;
  return { traits, adapter: `${vendor} ${architecture}`, cases };
}

const body = JSON.stringify(await runAll());
await fetch("/result", { method: "POST", body });
