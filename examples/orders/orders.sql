-- What the shop wants to know of every order at a glance; orders.c and `daybook projection run` keep it.
-- projection: order_totals
-- version: 1
-- events: orders.>

-- [setup]
CREATE TABLE order_totals (
    order_id TEXT PRIMARY KEY,
    customer TEXT NOT NULL,
    lines    BIGINT NOT NULL,
    cents    BIGINT NOT NULL,
    state    TEXT NOT NULL
);

-- [on type placed]
INSERT INTO order_totals VALUES (:aggregate_id, :data.customer!, 0, 0, 'open');

-- [on type line.added]
UPDATE order_totals SET lines = lines + 1, cents = cents + :data.cents! WHERE order_id = :aggregate_id;

-- [on type paid]
UPDATE order_totals SET state = 'paid' WHERE order_id = :aggregate_id;

-- [teardown]
DROP TABLE order_totals;
