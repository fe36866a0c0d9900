/** Arrays that the ranks of a machine share: `exchange_test.ts` has the bits of steps on them. */

import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { BFloat16Array } from "@descent/sgd";
import { openWorld } from "@descent/sgd/mpi";
import { ENGINES, runJob, testOn } from "./jobs.ts";

Deno.test("a world of one rank makes ordinary arrays of each dtype", () => {
  using world = openWorld();
  const arrays = (["float32", "float64", "float16", "bfloat16"] as const)
    .map((dtype) => world.zeros(3, dtype));
  assertEquals<unknown>(arrays, [
    ...[new Float32Array(3), new Float64Array(3), new Float16Array(3), new BFloat16Array(3)],
  ]);
  assertEquals(world.zeros(0, "float32").length, 0);
});

for (
  const [name, length, dtype, type, message] of [
    ["a dtype that does not exist", 1, "int8", TypeError, 'must be "float32", "float64", '],
    ["no dtype", 1, undefined, TypeError, "Cannot set dtype"],
    ["a length that is not a number", "1", "float32", TypeError, "Cannot set length"],
    ["a length below 0", -1, "float32", RangeError, "must be a whole number >= 0"],
    ["half an element", 1.5, "float32", RangeError, "current value is 1.5"],
  ] as const
) {
  Deno.test(`zeros refuses ${name}`, () => {
    using world = openWorld();
    // deno-lint-ignore no-explicit-any
    assertThrows(() => world.zeros(length as any, dtype as any), type, message);
  });
}

/** Two ranks take a step that moves `data` by their rank + 1; says whether it did on this one. */
const STEP = (make: string, exchange: string) => `
  using world = openWorld();
  const [data, grad] = ${make};
  const optimizer = new SGD([{ name: "w", data, grad }], { lr: 1, world, exchange: "${exchange}" });
  grad.fill(world.rank + 1);
  const { sentBytes } = await import("${new URL("sent_bytes.ts", import.meta.url)}");
  const before = sentBytes();
  optimizer.step();
  say(data.every((x: number) => x === -1.5));
  if (sentBytes() - before < 1000) say("nothing is sent");
`;

for (const engine of ENGINES) {
  testOn(engine, "arrays are each rank's own, and live after the world", async () => {
    const ending = await runJob(
      engine,
      2,
      `
      let arrays;
      {
        using world = openWorld();
        arrays = [world.zeros(5, "float32"), world.zeros(3, "bfloat16"), world.zeros(0, "float64")];
        arrays[0].fill(world.rank + 1);
        world.barrier();
        say(arrays[0].join());
      }
      arrays[0][4] += 1;
      say(arrays.map((array) => array.constructor.name + " " + array.join()).join("; "));
      `,
    );
    assertEquals(ending.code, 0, ending.err);
    const rest = "BFloat16Array 0,0,0; Float64Array ";
    assertEquals(ending.out, [
      `1,1,1,1,1\nFloat32Array 1,1,1,1,2; ${rest}`,
      `2,2,2,2,2\nFloat32Array 2,2,2,2,3; ${rest}`,
    ]);
  });

  testOn(engine, "too little shared memory is the same error on all ranks", async () => {
    const ending = await runJob(
      engine,
      2,
      `
      using world = openWorld();
      try { world.zeros(2 ** 42, "float32"); } catch (error) { say(\`\${error.name}: \${error.message}\`); }
      say(world.zeros(2, "float32").join());
      `,
    );
    assertEquals(ending.code, 0, ending.err);
    for (const out of ending.out) {
      assertMatch(
        out,
        /^WorldError: Cannot make shared arrays as on the machine of rank 0 shared memory \(\/dev\/shm\) has no room for 35184372088832 bytes[^]*\n0,0$/,
      );
    }
  });

  const refusals: Readonly<Record<string, { body: string; message: string }>> = {
    "shared arrays of different lengths": {
      body: 'world.zeros(3 + world.rank, "float32");',
      message:
        "WorldError: Cannot make shared arrays as the length of the array is 3 on rank 0 and " +
        "4 on rank 1",
    },
    "gradients of which one rank shares its own": {
      body: `const shared = world.zeros(3, "float32");
        w.grad = world.rank === 0 ? shared : new Float32Array(3);
        new SGD([w], { lr: 1, world }).step();`,
      message: 'WorldError: Cannot step as grad of parameter 0 ("w") begins at byte 0 ' +
        "of shared array 1 on rank 0 and is not shared on rank 1",
    },
    "parts of shared gradients at different places": {
      body: `w.grad = world.zeros(9, "float32").subarray(world.rank, world.rank + 3);
        new SGD([w], { lr: 1, world }).step();`,
      message: 'WorldError: Cannot step as grad of parameter 0 ("w") begins at byte 0 ' +
        "of shared array 1 on rank 0 and 4 on rank 1",
    },
  };
  for (const [name, { body, message }] of Object.entries(refusals)) {
    testOn(engine, `${name} are an error with the same message on all ranks`, async () => {
      const program = `
        using world = openWorld();
        const w = { name: "w", data: Float32Array.of(1, 2, 3), grad: null };
        try { ${body} } catch (error) { say(\`\${error.name}: \${error.message}\`); }
        say(w.data.join());
      `;
      const ending = await runJob(engine, 2, program);
      assertEquals(ending.out, [`${message}\n1,2,3`, `${message}\n1,2,3`], ending.err);
    });
  }
}

const zeros = 'world.zeros(9000, "float32")';
const plain = "new Float32Array(9000)";
const half = 'world.zeros(20_000, "float32").subarray(500, 9500)';

for (
  const [name, make, exchange, isSent] of [
    ["shared arrays", `[${zeros}, ${zeros}]`, "shards", false],
    ["parts of shared arrays", `[${half}, ${half}]`, "shards", false],
    ["shared gradients and others' parameters", `[${plain}, ${zeros}]`, "shards", true],
    ["shared gradients and its own parameters", `[${plain}, ${zeros}]`, "gradients", false],
    ["arrays that are not shared", `[${plain}, ${plain}]`, "shards", true],
  ] as const
) {
  const sends = isSent ? "sends" : "does not send";
  testOn("files", `a step of ${name} that exchanges ${exchange} ${sends} them`, async () => {
    const ending = await runJob("files", 2, STEP(make, exchange));
    const expected = isSent ? "true" : "true\nnothing is sent";
    assertEquals(ending.out, [expected, expected], ending.err);
  });
}

testOn("files", "shared memory has no name that could be left behind", async () => {
  const ending = await runJob(
    "files",
    2,
    `
    using world = openWorld();
    world.zeros(100_000, "float32");
    world.barrier(); // rank 0 has removed the name
    if (Deno.build.os !== "linux") Deno.exit();
    say([...Deno.readDirSync("/dev/shm")].filter(({ name }) => name.startsWith("descent-")).length);
    `,
  );
  assertEquals(ending.out, Deno.build.os === "linux" ? ["0", "0"] : ["", ""], ending.err);
});

testOn(
  "files",
  "without plain --allow-ffi there are no shared arrays, and the error says so",
  async () => {
    const program = `
    using world = openWorld();
    Deno.permissions.revokeSync({ name: "ffi" });
    try { world.zeros(3, "float32"); } catch (error) { say(\`\${error.name}: \${error.message}\`); }
  `;
    const ending = await runJob("files", 2, program);
    const message =
      "WorldUnavailableError: Cannot make shared arrays as Deno gives programs such " +
      "memory with --allow-ffi only, without a path";
    assertEquals(ending.out, [message, message], ending.err);
    assert(ending.code === 0);
  },
);
