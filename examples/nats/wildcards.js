// SPDX-License-Identifier: Apache-2.0
// Subjects and wildcards: `*` stands for one token, `>` for the rest. Plain publish and subscribe: nothing is kept.
import { open, say } from "./lib.js";

const { nc } = await open();
const seen = new Map();
for (const filter of ["orders.1.placed", "orders.*.placed", "orders.1.*", "orders.>", "*.*.paid"]) {
  seen.set(filter, []);
  nc.subscribe(filter, { callback: (_, message) => seen.get(filter).push(message.subject) });
}
await nc.flush();
for (const subject of ["orders.1.placed", "orders.2.placed", "orders.1.paid", "orders.1.item.added", "invoices.7.paid"])
  nc.publish(subject);
await nc.flush();
for (const [filter, subjects] of seen) say(filter.padEnd(16), subjects.join(" "));
await nc.close();
