// SPDX-License-Identifier: Apache-2.0
// Queue groups: three workers share the work, each message goes to one of them; an observer outside the group sees all.
import { open, say } from "./lib.js";

const { nc } = await open();
const workers = [0, 0, 0];
let observed = 0;
for (const number of workers.keys())
  nc.subscribe("jobs.*", { queue: "workers", callback: () => workers[number]++ });
nc.subscribe("jobs.>", { callback: () => observed++ });
await nc.flush();
for (let i = 0; i < 3000; i++) nc.publish(`jobs.${i}`);
await nc.flush();
const done = workers.reduce((sum, count) => sum + count, 0);
say(`published 3000, observed ${observed}, done ${done}`);
say(`each worker had some: ${workers.every((count) => count > 500)}`);
await nc.close();
