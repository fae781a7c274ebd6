// SPDX-License-Identifier: Apache-2.0
// What the programs share: where the server is, a clean stream to begin with, and lines that are the same in each run.
import { connect } from "@nats-io/transport-node";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";

export const say = (...words) => console.log(words.join(" "));

/** A connection to NATS_URL, else to the default port on this machine. */
export async function open() {
  const nc = await connect({ servers: process.env.NATS_URL ?? "127.0.0.1:4222" });
  const jsm = await jetstreamManager(nc);
  return { nc, jsm, js: jetstream(nc) };
}

/** A stream made anew: what an earlier run left is gone. */
export async function freshStream(jsm, config) {
  await jsm.streams.delete(config.name).catch(() => {});
  return await jsm.streams.add(config);
}

/** All messages a consumer has now, in order; `each` may be async. How many there were. */
export async function drain(consumer, each) {
  let count = 0;
  for (;;) {
    const { num_pending: pending } = await consumer.info();
    if (pending === 0) return count;
    const messages = await consumer.fetch({ max_messages: Math.min(pending, 100), expires: 2000 });
    for await (const message of messages) {
      await each(message);
      count++;
    }
  }
}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
