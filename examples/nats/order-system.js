// SPDX-License-Identifier: Apache-2.0
// An order system: commands checked against state, optimistic concurrency, idempotent appends, snapshots, and a read
// model in SQL that follows the stream.
//
// Each order has one subject, so that the sequence of its last event is its version for everybody: an append says which
// last event it has seen, and is refused where another came in between. Then the order is loaded again, and the command
// decided anew.
//
// The read model writes its rows and the sequence it has come to in one transaction: killed at any moment, it goes on
// behind what it has, and leaves nothing out and takes nothing twice.
import sqlite from "node-sqlite3-wasm";
import { Kvm } from "@nats-io/kv";
import { DeliverPolicy } from "@nats-io/jetstream";
import { drain, freshStream, open, say } from "./lib.js";
import { decide, evolve, initial, SCHEMA } from "./order.js";

const SNAPSHOT_EVERY = 50;
const WRONG_LAST_SEQUENCE = 10071;
const { nc, jsm, js } = await open();
await freshStream(jsm, { name: "ORDERS", subjects: ["orders.*"], allow_direct: true });
await jsm.streams.delete("KV_SNAPSHOTS").catch(() => {});
const snapshots = await new Kvm(nc).create("SNAPSHOTS");

// ---- Loading: snapshot, then the events behind it

async function load(id) {
  let order = initial();
  let seq = 0;
  const snapshot = (await snapshots.get(id))?.json();
  if (snapshot?.schema === SCHEMA) ({ state: order, seq } = snapshot);
  const consumer = await js.consumers.get("ORDERS", {
    filter_subjects: `orders.${id}`,
    deliver_policy: DeliverPolicy.StartSequence,
    opt_start_seq: seq + 1,
  });
  const replayed = await drain(consumer, (message) => {
    order = evolve(order, message.json());
    seq = message.seq;
  });
  await consumer.delete().catch(() => {});
  return { order, seq, replayed };
}

// ---- Executing a command: load, decide, append where nobody came in between

async function execute(id, command, commandId, before = async () => {}) {
  for (let attempt = 1; attempt <= 5; attempt++) {
    let { order, seq } = await load(id);
    const events = decide(order, command);
    await before(attempt);
    try {
      for (const [index, event] of events.entries()) {
        const ack = await js.publish(`orders.${id}`, JSON.stringify(event), {
          msgID: `${commandId}-${index}`,
          expect: { lastSubjectSequence: seq },
        });
        seq = ack.seq;
        order = evolve(order, event);
      }
    } catch (error) {
      if (error.code === WRONG_LAST_SEQUENCE) continue; // somebody was faster: load and decide again
      throw error;
    }
    if (order.version % SNAPSHOT_EVERY === 0)
      await snapshots.put(id, JSON.stringify({ schema: SCHEMA, seq, state: order }));
    return { order, attempt };
  }
  throw new Error(`order ${id}: five attempts, and each time somebody was faster`);
}

await execute("1", { type: "place" }, "c1");
await execute("1", { type: "add-item", sku: "book", price: 20 }, "c2");

// Two clerks at once: the second one's first attempt is refused, and its second counts both items.
const { order: both, attempt } = await execute("1", { type: "add-item", sku: "pen", price: 3 }, "c3", async (n) => {
  if (n === 1) await execute("1", { type: "add-item", sku: "lamp", price: 40 }, "c4");
});
say(`two clerks: attempt ${attempt}, ${both.items} items, total ${both.total}`);

await execute("1", { type: "pay" }, "c5");
await execute("1", { type: "add-item", sku: "late", price: 1 }, "c6").catch((error) => say(`refused: ${error.message}`));

// The same message once more, as after a lost acknowledgement: known by its id.
const again = await js.publish("orders.9", JSON.stringify({ type: "placed" }), { msgID: "c7-0" });
const twice = await js.publish("orders.9", JSON.stringify({ type: "placed" }), { msgID: "c7-0" });
say(`sent twice: duplicate ${again.duplicate === true} then ${twice.duplicate === true}, same sequence ${again.seq === twice.seq}`);

// A long order: what loading costs with a snapshot.
await execute("2", { type: "place" }, "d0");
for (let i = 1; i < 120; i++) await execute("2", { type: "add-item", sku: `sku-${i}`, price: 1 }, `d${i}`);
const { order: long, replayed } = await load("2");
say(`long order: version ${long.version}, ${replayed} events replayed behind the snapshot`);

// ---- The read model

const database = new sqlite.Database(":memory:");
database.exec(`CREATE TABLE sales (id TEXT PRIMARY KEY, state TEXT NOT NULL, items INTEGER NOT NULL, total REAL NOT NULL);
               CREATE TABLE checkpoint (seq INTEGER NOT NULL);
               INSERT INTO checkpoint VALUES (0);`);
const statements = {
  "placed": (id) => database.run("INSERT INTO sales VALUES (?, 'open', 0, 0)", [id]),
  "item-added": (id, event) =>
    database.run("UPDATE sales SET items = items + 1, total = total + ? WHERE id = ?", [event.price, id]),
  "paid": (id) => database.run("UPDATE sales SET state = 'paid' WHERE id = ?", [id]),
  "shipped": (id) => database.run("UPDATE sales SET state = 'shipped' WHERE id = ?", [id]),
};

function project(message) {
  const { seq } = database.get("SELECT seq FROM checkpoint");
  if (message.seq <= seq) return false; // it has this already
  const event = message.json();
  database.exec("BEGIN");
  statements[event.type](message.subject.slice("orders.".length), event);
  database.run("UPDATE checkpoint SET seq = ?", [message.seq]);
  database.exec("COMMIT");
  return true;
}

async function follow(limit) {
  const { seq } = database.get("SELECT seq FROM checkpoint");
  const consumer = await js.consumers.get("ORDERS", {
    deliver_policy: DeliverPolicy.StartSequence,
    opt_start_seq: seq + 1,
  });
  let taken = 0;
  for await (const message of await consumer.fetch({ max_messages: limit, expires: 2000 })) {
    taken += project(message) ? 1 : 0;
    if (message.info.pending === 0) break;
  }
  await consumer.delete().catch(() => {});
  return taken;
}

say(`projected: ${await follow(50)} events, then it is stopped`);
say(`projected: ${await follow(1000)} events after it came back`);
for (const row of database.all("SELECT * FROM sales ORDER BY id"))
  say(`sale ${row.id}: ${row.state}, ${row.items} items, ${row.total}`);
database.close();
await nc.close();
