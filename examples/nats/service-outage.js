// SPDX-License-Identifier: Apache-2.0
// A service is down for a while: its durable consumer keeps the place, and nothing is lost.
import { AckPolicy } from "@nats-io/jetstream";
import { drain, freshStream, open, say } from "./lib.js";

const { nc, jsm, js } = await open();
await freshStream(jsm, { name: "PAYMENTS", subjects: ["payments.>"] });
await jsm.consumers.add("PAYMENTS", { durable_name: "ledger", ack_policy: AckPolicy.Explicit });

const pay = async (from, to) => {
  for (let i = from; i <= to; i++) await js.publish(`payments.${i}`, JSON.stringify({ amount: i }));
};
let sum = 0;
const work = async () => {
  const service = await js.consumers.get("PAYMENTS", "ledger");
  return await drain(service, async (message) => {
    sum += message.json().amount;
    await message.ackAck();
  });
};

await pay(1, 10);
say(`up:    ${await work()} payments, sum ${sum}`);
await pay(11, 30); // nobody is there
const { num_pending: waiting } = await jsm.consumers.info("PAYMENTS", "ledger");
say(`down:  ${waiting} payments wait`);
say(`again: ${await work()} payments, sum ${sum}`);
await nc.close();
