// SPDX-License-Identifier: Apache-2.0
// The domain: an order, rebuilt from its events. No NATS in here.

export const SCHEMA = 1; // of the state, for snapshots

export const initial = () => ({ state: "none", items: 0, total: 0, version: 0 });

/** State and event give the next state. */
export function evolve(order, event) {
  const next = { ...order, version: order.version + 1 };
  switch (event.type) {
    case "placed":
      next.state = "open";
      break;
    case "item-added":
      next.items += 1;
      next.total += event.price;
      break;
    case "paid":
      next.state = "paid";
      break;
    case "shipped":
      next.state = "shipped";
      break;
  }
  return next;
}

/** Command and state give events, or a reason why not. */
export function decide(order, command) {
  switch (command.type) {
    case "place":
      if (order.state !== "none") throw new Error(`an order that is ${order.state} cannot be placed`);
      return [{ type: "placed" }];
    case "add-item":
      if (order.state !== "open") throw new Error(`nothing can be added to an order that is ${order.state}`);
      return [{ type: "item-added", sku: command.sku, price: command.price }];
    case "pay":
      if (order.state !== "open") throw new Error(`an order that is ${order.state} cannot be paid`);
      if (order.items === 0) throw new Error("an empty order cannot be paid");
      return [{ type: "paid", amount: order.total }];
    case "ship":
      if (order.state !== "paid") throw new Error(`an order that is ${order.state} cannot be shipped`);
      return [{ type: "shipped" }];
    default:
      throw new Error(`no such command: ${command.type}`);
  }
}
