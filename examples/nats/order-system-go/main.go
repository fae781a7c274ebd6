// SPDX-License-Identifier: Apache-2.0

// An order system with nats.go: the same as order-system.js, which says how it works.
package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	_ "github.com/mattn/go-sqlite3"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	schema        = 1 // of the state, for snapshots
	snapshotEvery = 50
	attemptsMax   = 5
)

// ---- The domain: no NATS in here

type event struct {
	Type  string `json:"type"`
	Sku   string `json:"sku,omitempty"`
	Price int    `json:"price,omitempty"`
}

type order struct {
	State   string `json:"state"`
	Items   int    `json:"items"`
	Total   int    `json:"total"`
	Version int    `json:"version"`
}

func (o order) evolve(e event) order {
	o.Version++
	switch e.Type {
	case "placed":
		o.State = "open"
	case "item-added":
		o.Items++
		o.Total += e.Price
	case "paid", "shipped":
		o.State = e.Type
	}
	return o
}

// A command is an event that is wished for.
func (o order) decide(wish event) (event, error) {
	wanted := map[string]string{"placed": "", "item-added": "open", "paid": "open", "shipped": "paid"}
	if state, known := wanted[wish.Type]; !known || state != o.State {
		return event{}, fmt.Errorf("%s does not go with an order that is %s", wish.Type, o.State)
	}
	if wish.Type == "paid" && o.Items == 0 {
		return event{}, errors.New("an empty order cannot be paid")
	}
	return wish, nil
}

// ---- Orders in a stream

type orders struct {
	js        jetstream.JetStream
	snapshots jetstream.KeyValue
}

type snapshot struct {
	Schema int    `json:"schema"`
	Seq    uint64 `json:"seq"`
	State  order  `json:"state"`
}

type loaded struct {
	order    order
	seq      uint64
	replayed int
}

// load takes the newest snapshot and replays what lies behind it.
func (all *orders) load(ctx context.Context, id string) (loaded, error) {
	var at loaded
	entry, err := all.snapshots.Get(ctx, id)
	if err == nil {
		var kept snapshot
		if json.Unmarshal(entry.Value(), &kept) == nil && kept.Schema == schema {
			at.order, at.seq = kept.State, kept.Seq
		}
	} else if !errors.Is(err, jetstream.ErrKeyNotFound) {
		return at, err
	}
	consumer, err := all.js.CreateConsumer(ctx, "ORDERS", jetstream.ConsumerConfig{
		FilterSubject:     "orders." + id,
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       at.seq + 1,
		AckPolicy:         jetstream.AckNonePolicy,
		InactiveThreshold: time.Minute,
	})
	if err != nil {
		return at, err
	}
	info := consumer.CachedInfo()
	defer func() { _ = all.js.DeleteConsumer(ctx, "ORDERS", info.Name) }()
	for pending := info.NumPending; pending > 0; {
		batch, err := consumer.FetchNoWait(min(int(pending), 100))
		if err != nil {
			return at, err
		}
		for message := range batch.Messages() {
			var e event
			if err := json.Unmarshal(message.Data(), &e); err != nil {
				return at, err
			}
			metadata, err := message.Metadata()
			if err != nil {
				return at, err
			}
			at.order, at.seq = at.order.evolve(e), metadata.Sequence.Stream
			at.replayed++
			pending = metadata.NumPending
		}
		if err := batch.Error(); err != nil {
			return at, err
		}
	}
	return at, nil
}

// execute loads, decides and appends; where somebody came in between it begins anew.
func (all *orders) execute(ctx context.Context, id string, wish event, commandID string, before func(attempt int) error) (order, int, error) {
	for attempt := 1; attempt <= attemptsMax; attempt++ {
		at, err := all.load(ctx, id)
		if err != nil {
			return at.order, attempt, err
		}
		decided, err := at.order.decide(wish)
		if err != nil {
			return at.order, attempt, err
		}
		if before != nil {
			if err := before(attempt); err != nil {
				return at.order, attempt, err
			}
		}
		data, err := json.Marshal(decided)
		if err != nil {
			return at.order, attempt, err
		}
		ack, err := all.js.Publish(ctx, "orders."+id, data,
			jetstream.WithMsgID(commandID), jetstream.WithExpectLastSequencePerSubject(at.seq))
		var refused *jetstream.APIError
		if errors.As(err, &refused) && refused.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence {
			continue
		}
		if err != nil {
			return at.order, attempt, err
		}
		next := at.order.evolve(decided)
		if next.Version%snapshotEvery == 0 {
			kept, err := json.Marshal(snapshot{schema, ack.Sequence, next})
			if err != nil {
				return next, attempt, err
			}
			if _, err := all.snapshots.Put(ctx, id, kept); err != nil {
				return next, attempt, err
			}
		}
		return next, attempt, nil
	}
	return order{}, attemptsMax, fmt.Errorf("order %s: each time somebody was faster", id)
}

// ---- The read model: rows and the sequence it has come to in one transaction

type readModel struct{ database *sql.DB }

func (model *readModel) create() error {
	_, err := model.database.Exec(`
		CREATE TABLE sales (id TEXT PRIMARY KEY, state TEXT NOT NULL, items INTEGER NOT NULL, total INTEGER NOT NULL);
		CREATE TABLE checkpoint (seq INTEGER NOT NULL);
		INSERT INTO checkpoint VALUES (0);`)
	return err
}

func (model *readModel) project(id string, e event, seq uint64) error {
	transaction, err := model.database.Begin()
	if err != nil {
		return err
	}
	defer func() { _ = transaction.Rollback() }()
	switch e.Type {
	case "placed":
		_, err = transaction.Exec("INSERT INTO sales VALUES (?, 'open', 0, 0)", id)
	case "item-added":
		_, err = transaction.Exec("UPDATE sales SET items = items + 1, total = total + ? WHERE id = ?", e.Price, id)
	default:
		_, err = transaction.Exec("UPDATE sales SET state = ? WHERE id = ?", e.Type, id)
	}
	if err != nil {
		return err
	}
	if _, err := transaction.Exec("UPDATE checkpoint SET seq = ?", seq); err != nil {
		return err
	}
	return transaction.Commit()
}

func (model *readModel) follow(ctx context.Context, js jetstream.JetStream, limit int) (int, error) {
	var seq uint64
	if err := model.database.QueryRow("SELECT seq FROM checkpoint").Scan(&seq); err != nil {
		return 0, err
	}
	consumer, err := js.OrderedConsumer(ctx, "ORDERS", jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:   seq + 1,
	})
	if err != nil {
		return 0, err
	}
	taken := 0
	batch, err := consumer.FetchNoWait(limit)
	if err != nil {
		return 0, err
	}
	for message := range batch.Messages() {
		var e event
		if err := json.Unmarshal(message.Data(), &e); err != nil {
			return taken, err
		}
		metadata, err := message.Metadata()
		if err != nil {
			return taken, err
		}
		id := strings.TrimPrefix(message.Subject(), "orders.")
		if err := model.project(id, e, metadata.Sequence.Stream); err != nil {
			return taken, err
		}
		taken++
	}
	return taken, batch.Error()
}

// ---- The programme

func run(ctx context.Context) error {
	url := os.Getenv("NATS_URL")
	if url == "" {
		url = nats.DefaultURL
	}
	nc, err := nats.Connect(url)
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	for _, name := range []string{"ORDERS", "KV_SNAPSHOTS"} {
		if err := js.DeleteStream(ctx, name); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			return err
		}
	}
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.*"}}); err != nil {
		return err
	}
	snapshots, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "SNAPSHOTS"})
	if err != nil {
		return err
	}
	all := &orders{js, snapshots}

	if err := sell(ctx, all); err != nil {
		return err
	}
	database, err := sql.Open("sqlite3", ":memory:")
	if err != nil {
		return err
	}
	defer func() { _ = database.Close() }()
	database.SetMaxOpenConns(1) // one memory, one connection
	model := &readModel{database}
	if err := model.create(); err != nil {
		return err
	}
	for _, step := range []struct {
		limit int
		text  string
	}{{50, "then it is stopped"}, {1000, "after it came back"}} {
		taken, err := model.follow(ctx, js, step.limit)
		if err != nil {
			return err
		}
		fmt.Printf("projected: %d events, %s\n", taken, step.text)
	}
	return show(database)
}

func sell(ctx context.Context, all *orders) error {
	do := func(id string, wish event, commandID string) error {
		_, _, err := all.execute(ctx, id, wish, commandID, nil)
		return err
	}
	if err := do("1", event{Type: "placed"}, "c1"); err != nil {
		return err
	}
	if err := do("1", event{Type: "item-added", Sku: "book", Price: 20}, "c2"); err != nil {
		return err
	}
	// Two clerks at once: the second one's first attempt is refused, and its second counts both items.
	both, attempt, err := all.execute(ctx, "1", event{Type: "item-added", Sku: "pen", Price: 3}, "c3", func(attempt int) error {
		if attempt > 1 {
			return nil
		}
		return do("1", event{Type: "item-added", Sku: "lamp", Price: 40}, "c4")
	})
	if err != nil {
		return err
	}
	fmt.Printf("two clerks: attempt %d, %d items, total %d\n", attempt, both.Items, both.Total)
	if err := do("1", event{Type: "paid"}, "c5"); err != nil {
		return err
	}
	if err := do("1", event{Type: "item-added", Sku: "late", Price: 1}, "c6"); err != nil {
		fmt.Println("refused:", err)
	}
	// The same message once more, as after a lost acknowledgement: known by its id.
	data := []byte(`{"type":"placed"}`)
	first, err := all.js.Publish(ctx, "orders.9", data, jetstream.WithMsgID("c7"))
	if err != nil {
		return err
	}
	second, err := all.js.Publish(ctx, "orders.9", data, jetstream.WithMsgID("c7"))
	if err != nil {
		return err
	}
	fmt.Printf("sent twice: duplicate %t then %t, same sequence %t\n", first.Duplicate, second.Duplicate, first.Sequence == second.Sequence)
	// A long order: what loading costs with a snapshot.
	if err := do("2", event{Type: "placed"}, "d0"); err != nil {
		return err
	}
	for i := 1; i < 120; i++ {
		if err := do("2", event{Type: "item-added", Sku: fmt.Sprintf("sku-%d", i), Price: 1}, fmt.Sprintf("d%d", i)); err != nil {
			return err
		}
	}
	at, err := all.load(ctx, "2")
	if err != nil {
		return err
	}
	fmt.Printf("long order: version %d, %d events replayed behind the snapshot\n", at.order.Version, at.replayed)
	return nil
}

func show(database *sql.DB) error {
	rows, err := database.Query("SELECT id, state, items, total FROM sales ORDER BY id")
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var id, state string
		var items, total int
		if err := rows.Scan(&id, &state, &items, &total); err != nil {
			return err
		}
		fmt.Printf("sale %s: %s, %d items, %d\n", id, state, items, total)
	}
	return rows.Err()
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}
