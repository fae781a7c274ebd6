// SPDX-License-Identifier: Apache-2.0
// The late joiner once more, with the older package "nats" that many programs still use: late-joiner.js says what happens.
import { connect, DeliverPolicy, JSONCodec } from "nats";
import { evolve, initial, SCHEMA } from "./order.js";

const SNAPSHOT_EVERY = 50;
const codec = JSONCodec();
const say = (...words) => console.log(words.join(" "));
const nc = await connect({ servers: process.env.NATS_URL ?? "127.0.0.1:4222" });
const jsm = await nc.jetstreamManager();
const js = nc.jetstream();
for (const name of ["ORDERS", "KV_SNAPSHOTS"]) await jsm.streams.delete(name).catch(() => {});
await jsm.streams.add({ name: "ORDERS", subjects: ["orders.>"] });
const snapshots = await js.views.kv("SNAPSHOTS", { history: 3 });

// ---- The writer
let order = initial();

async function append(event) {
  const { seq } = await js.publish(`orders.42.${event.type}`, codec.encode(event));
  order = evolve(order, event);
  if (order.version % SNAPSHOT_EVERY !== 0) return;
  await snapshots.put("orders.42", codec.encode({ schema: SCHEMA, seq, state: order }));
  say(`snapshot at version ${order.version}`);
}

await append({ type: "placed" });
for (let i = 1; i < 120; i++) await append({ type: "item-added", sku: `sku-${i}`, price: i });
say(`written: ${order.version} events, total ${order.total}`);

// ---- The late joiner
let seen = initial();
let next = 1;
const entry = await snapshots.get("orders.42");
const snapshot = entry && codec.decode(entry.value);
if (snapshot?.schema === SCHEMA) {
  seen = snapshot.state;
  next = snapshot.seq + 1;
}
say(`joined: snapshot of version ${seen.version}`);

const consumer = await js.consumers.get("ORDERS", {
  filterSubjects: "orders.42.>",
  deliver_policy: DeliverPolicy.StartSequence,
  opt_start_seq: next,
});
const live = await consumer.consume();
let replayed = 0;
for await (const message of live) {
  seen = evolve(seen, codec.decode(message.data));
  replayed++;
  if (message.info.pending > 0) continue;
  if (seen.state === "open") {
    say(`caught up: ${replayed} events behind it, version ${seen.version}, total ${seen.total}`);
    await append({ type: "paid", amount: order.total });
    await append({ type: "shipped" });
    continue;
  }
  say(`live: ${message.subject}, version ${seen.version}, ${seen.state}`);
  if (seen.state === "shipped") break;
}
say(JSON.stringify(seen) === JSON.stringify(order) ? "both sides agree" : "THE STATES DIFFER");
await nc.close();
