// SPDX-License-Identifier: Apache-2.0
// Ephemeral and durable consumers: the one begins where it is told and leaves nothing behind, the other goes on where it
// was, from wherever it is opened next.
import { AckPolicy, DeliverPolicy } from "@nats-io/jetstream";
import { drain, freshStream, open, say } from "./lib.js";

const { nc, jsm, js } = await open();
await freshStream(jsm, { name: "READINGS", subjects: ["readings.*"] });
for (let i = 1; i <= 10; i++) await js.publish(`readings.${i % 2 === 0 ? "even" : "odd"}`, `${i}`);

const read = async (consumer) => {
  const values = [];
  await drain(consumer, (message) => {
    values.push(message.string());
    message.ack();
  });
  return values.join(" ");
};

// Ephemeral: each one has its own beginning.
say("all:           ", await read(await js.consumers.get("READINGS")));
say("from 7:        ", await read(await js.consumers.get("READINGS", {
  deliver_policy: DeliverPolicy.StartSequence,
  opt_start_seq: 7,
})));
say("last of each:  ", await read(await js.consumers.get("READINGS", {
  deliver_policy: DeliverPolicy.LastPerSubject,
  filter_subjects: "readings.*",
})));
say("even:          ", await read(await js.consumers.get("READINGS", { filter_subjects: "readings.even" })));

// Durable: three, then the rest, by another connection.
await jsm.consumers.add("READINGS", { durable_name: "meter", ack_policy: AckPolicy.Explicit });
const meter = await js.consumers.get("READINGS", "meter");
const first = [];
for await (const message of await meter.fetch({ max_messages: 3, expires: 2000 })) {
  first.push(message.string());
  await message.ackAck();
}
say("durable, first:", first.join(" "));
const other = await open();
say("durable, rest: ", await read(await other.js.consumers.get("READINGS", "meter")));
await other.nc.drain();
const { ack_floor: floor } = await jsm.consumers.info("READINGS", "meter");
say(`durable, at:    ${floor.stream_seq}`);
await nc.close();
