// SPDX-License-Identifier: Apache-2.0
// A late joiner: state from the newest snapshot in a key-value bucket, then the events behind it, then live.
//
// The writer appends events of one order and puts a snapshot every 50 of them: the state, and the sequence of the last
// event in it. Who joins later reads the snapshot and begins with the sequence behind it: 20 events instead of 120.
import { Kvm } from "@nats-io/kv";
import { DeliverPolicy } from "@nats-io/jetstream";
import { freshStream, open, say } from "./lib.js";
import { evolve, initial, SCHEMA } from "./order.js";

const SNAPSHOT_EVERY = 50;
const { nc, jsm, js } = await open();
await freshStream(jsm, { name: "ORDERS", subjects: ["orders.>"] });
await jsm.streams.delete("KV_SNAPSHOTS").catch(() => {});
const snapshots = await new Kvm(nc).create("SNAPSHOTS", { history: 3 });

// ---- The writer
let order = initial();
let revision = 0;

async function append(event) {
  const { seq } = await js.publish(`orders.42.${event.type}`, JSON.stringify(event));
  order = evolve(order, event);
  if (order.version % SNAPSHOT_EVERY !== 0) return;
  const snapshot = JSON.stringify({ schema: SCHEMA, seq, state: order });
  revision = revision === 0
    ? await snapshots.create("orders.42", snapshot)
    : await snapshots.update("orders.42", snapshot, revision);
  say(`snapshot at version ${order.version}, revision ${revision}`);
}

await append({ type: "placed" });
for (let i = 1; i < 120; i++) await append({ type: "item-added", sku: `sku-${i}`, price: i });
say(`written: ${order.version} events, total ${order.total}`);

// ---- The late joiner, elsewhere and knowing nothing
let seen = initial();
let next = 1;
const entry = await snapshots.get("orders.42");
const snapshot = entry?.json();
if (snapshot?.schema === SCHEMA) {
  seen = snapshot.state;
  next = snapshot.seq + 1;
}
say(`joined: snapshot of version ${seen.version}`);

const consumer = await js.consumers.get("ORDERS", {
  filter_subjects: "orders.42.>",
  deliver_policy: DeliverPolicy.StartSequence,
  opt_start_seq: next,
});
const messages = await consumer.consume();
let replayed = 0;
for await (const message of messages) {
  seen = evolve(seen, message.json());
  replayed++;
  if (message.info.pending > 0) continue; // there is history left
  if (seen.state === "open") {
    say(`caught up: ${replayed} events behind it, version ${seen.version}, total ${seen.total}`);
    // ---- Live: what comes now arrives by itself
    await append({ type: "paid", amount: order.total });
    await append({ type: "shipped" });
    continue;
  }
  say(`live: ${message.subject}, version ${seen.version}, ${seen.state}`);
  if (seen.state === "shipped") break;
}
say(JSON.stringify(seen) === JSON.stringify(order) ? "both sides agree" : "THE STATES DIFFER");
await nc.close();
