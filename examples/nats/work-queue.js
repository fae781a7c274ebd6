// SPDX-License-Identifier: Apache-2.0
// A work queue: a stream that forgets what was done. Two workers share one consumer; one of them fails now and then, and
// what it failed at is given out again.
import { AckPolicy, RetentionPolicy } from "@nats-io/jetstream";
import { freshStream, open, say } from "./lib.js";

const JOBS = 20;
const { nc, jsm, js } = await open();
await freshStream(jsm, { name: "JOBS", subjects: ["jobs.>"], retention: RetentionPolicy.Workqueue });
await jsm.consumers.add("JOBS", { durable_name: "workers", ack_policy: AckPolicy.Explicit, max_deliver: 5 });
for (let i = 1; i <= JOBS; i++) await js.publish("jobs.resize", `${i}`);
say(`queued: ${(await jsm.streams.info("JOBS")).state.messages}`);

const done = [];
let failures = 0;
async function worker(fails) {
  const consumer = await js.consumers.get("JOBS", "workers");
  while (done.length < JOBS) {
    for await (const message of await consumer.fetch({ max_messages: 2, expires: 1000 })) {
      if (fails(message)) {
        failures++;
        message.nak(); // again, perhaps to the other one
        continue;
      }
      if (await message.ackAck()) done.push(Number(message.string()));
    }
  }
}
const failsOnce = (message) => Number(message.string()) % 5 === 0 && message.info.deliveryCount === 1;
await Promise.all([worker(failsOnce), worker(failsOnce)]);

done.sort((a, b) => a - b);
say(`done: ${done.length}, each once: ${new Set(done).size === JOBS}, failures: ${failures}`);
say(`left: ${(await jsm.streams.info("JOBS")).state.messages}`);
await nc.close();
