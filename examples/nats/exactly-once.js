// SPDX-License-Identifier: Apache-2.0
// Exactly once: the publisher repeats itself under an id the stream remembers; the consumer is told that its
// acknowledgement is kept before it goes on (double ack).
import { AckPolicy } from "@nats-io/jetstream";
import { drain, freshStream, open, say } from "./lib.js";

const { nc, jsm, js } = await open();
await freshStream(jsm, { name: "TRANSFERS", subjects: ["transfers.*"], duplicate_window: 120 * 1e9 });
await jsm.consumers.add("TRANSFERS", { durable_name: "bank", ack_policy: AckPolicy.Explicit });

// Each transfer is sent three times, as a nervous publisher does.
let duplicates = 0;
for (let i = 1; i <= 10; i++) {
  for (let attempt = 1; attempt <= 3; attempt++) {
    const ack = await js.publish(`transfers.${i}`, JSON.stringify({ amount: 10 }), { msgID: `transfer-${i}` });
    if (ack.duplicate) duplicates++;
  }
}
say(`sent 30, duplicates ${duplicates}, stored ${(await jsm.streams.info("TRANSFERS")).state.messages}`);

let balance = 0;
let confirmed = 0;
await drain(await js.consumers.get("TRANSFERS", "bank"), async (message) => {
  balance += message.json().amount;
  if (await message.ackAck()) confirmed++;
});
const info = await jsm.consumers.info("TRANSFERS", "bank");
say(`balance ${balance}, confirmed ${confirmed}, open ${info.num_ack_pending}, again ${info.num_redelivered}`);
await nc.close();
