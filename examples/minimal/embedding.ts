/**
 * Embeddings with sparse gradients: what users think of films, from some of their ratings. A step reads and
 * writes only the rows of the batch.
 *
 *     deno run embedding.ts
 */

import { SGD } from "jsr:@descent/sgd@^0.1.0";
import type { SparseParameter } from "jsr:@descent/sgd@^0.1.0";

// Copy from here ----------------------------------------------------------------------------------

const [USERS, FILMS, SIZE, BATCH] = [300, 200, 4, 32];
const random = createRandom(1);
const { train, test } = makeRatings();

const users = embedding("users", USERS);
const films = embedding("films", FILMS);
const optimizer = new SGD([users, films], { lr: 1 });

for (let step = 0; step <= 6000; step++) {
  if (step % 2000 === 0) console.log(`step ${step}  error ${rootMeanSquare(test).toFixed(3)}`);
  const batch = Array.from({ length: BATCH }, () => train[Math.floor(random() * train.length)]);
  const [userValues, filmValues] = [new Float32Array(BATCH * SIZE), new Float32Array(BATCH * SIZE)];
  batch.forEach(({ user, film, rating }, i) => {
    const slope = 2 * (predict(user, film) - rating) / BATCH;
    for (let k = 0; k < SIZE; k++) {
      userValues[i * SIZE + k] = slope * films.data[film * SIZE + k];
      filmValues[i * SIZE + k] = slope * users.data[user * SIZE + k];
    }
  });
  // One row of values for each index; rows that occur twice are added up.
  const userRows = Int32Array.from(batch, ({ user }) => user);
  const filmRows = Int32Array.from(batch, ({ film }) => film);
  users.grad = { indices: userRows, values: userValues, shape: [USERS, SIZE] };
  films.grad = { indices: filmRows, values: filmValues, shape: [FILMS, SIZE] };
  optimizer.step();
}

// To here -----------------------------------------------------------------------------------------

function predict(user: number, film: number): number {
  let sum = 0;
  for (let k = 0; k < SIZE; k++) sum += users.data[user * SIZE + k] * films.data[film * SIZE + k];
  return sum;
}

function embedding(name: string, rows: number): SparseParameter {
  const data = new Float32Array(rows * SIZE).map(() => random() - 0.5);
  return { name, data, grad: null, shape: [rows, SIZE] };
}

function rootMeanSquare(ratings: typeof test): number {
  const square = (r: typeof test[number]) => (predict(r.user, r.film) - r.rating) ** 2;
  return Math.sqrt(ratings.reduce((sum, rating) => sum + square(rating), 0) / ratings.length);
}

/** A quarter of all ratings, which two numbers of each user and film decide; a tenth are for the test. */
function makeRatings() {
  const tastes = Array.from({ length: USERS + FILMS }, () => [2 * random() - 1, 2 * random() - 1]);
  const all = Array.from({ length: USERS * FILMS / 4 }, () => {
    const [user, film] = [Math.floor(random() * USERS), Math.floor(random() * FILMS)];
    const [a, b] = [tastes[user], tastes[USERS + film]];
    return { user, film, rating: a[0] * b[0] + a[1] * b[1] };
  });
  const count = all.length / 10;
  return { test: all.slice(0, count), train: all.slice(count) };
}

/** Numbers from 0 to 1: the same seed gives the same numbers (a Lehmer generator). */
function createRandom(seed: number): () => number {
  return () => (seed = seed * 48271 % 0x7fffffff) / 0x7fffffff;
}
