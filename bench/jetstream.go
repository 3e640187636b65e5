package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	jetSubject = "oona.telemetry"
	jetStream  = "telemetry"
	// jetPending is how many messages a publisher has on their way; more brings
	// nothing.
	jetPending = 4096
	jetBatch   = 1000 // of a pull; larger than ours, because it is faster so
)

// jet carries the same signed messages over NATS JetStream: a server in this
// process with a file store, reached over loopback.
type jet struct {
	server     *server.Server
	connection *nats.Conn
	streams    jetstream.JetStream
	message    entry
}

func startJet(folder string) (*jet, error) {
	options := &server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true,
		JetStream: true, StoreDir: filepath.Join(folder, "jetstream"),
	}
	made, err := server.NewServer(options)
	if err != nil {
		return nil, fmt.Errorf("make nats-server: %w", err)
	}
	j := &jet{server: made}
	go made.Start() // ends with Shutdown
	if !made.ReadyForConnections(startTimeout) {
		j.close()
		return nil, errors.New("nats-server does not answer")
	}
	if j.connection, err = nats.Connect(made.ClientURL()); err == nil {
		j.streams, err = jetstream.New(j.connection, jetstream.WithPublishAsyncMaxPending(jetPending))
	}
	if err != nil {
		j.close()
		return nil, fmt.Errorf("connect to nats-server: %w", err)
	}
	return j, nil
}

func (j *jet) close() {
	if j.connection != nil {
		j.connection.Close()
	}
	j.server.Shutdown()
	j.server.WaitForShutdown()
}

// clear makes the stream anew.
func (j *jet) clear(ctx context.Context) error {
	if err := j.streams.DeleteStream(ctx, jetStream); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("delete stream of JetStream: %w", err)
	}
	_, err := j.streams.CreateStream(ctx, jetstream.StreamConfig{
		Name: jetStream, Subjects: []string{jetSubject}, Storage: jetstream.FileStorage, MaxMsgs: backlogBound,
	})
	if err != nil {
		return fmt.Errorf("create stream of JetStream: %w", err)
	}
	return nil
}

// publish sends n messages without waiting for each, and returns when all are
// stored.
func (j *jet) publish(ctx context.Context, n int) error {
	header := nats.Header{"signature": {j.message.signature}}
	for range n {
		message := &nats.Msg{Subject: jetSubject, Header: header, Data: []byte(j.message.payload)}
		if _, err := j.streams.PublishMsgAsync(message, jetstream.WithStallWait(startTimeout)); err != nil {
			return fmt.Errorf("publish to JetStream: %w", err)
		}
	}
	select {
	case <-j.streams.PublishAsyncComplete():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// consume pulls n messages and acknowledges each; it returns when the server has
// seen the last acknowledgement.
func (j *jet) consume(ctx context.Context, n int) error {
	consumer, err := j.streams.CreateOrUpdateConsumer(ctx, jetStream, jetstream.ConsumerConfig{
		Durable: "bench", AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: -1,
	})
	if err != nil {
		return fmt.Errorf("create consumer of JetStream: %w", err)
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(jetBatch))
	if err != nil {
		return fmt.Errorf("pull from JetStream: %w", err)
	}
	defer messages.Stop()
	for range n {
		message, err := messages.Next(jetstream.NextContext(ctx))
		if err == nil {
			err = message.Ack()
		}
		if err != nil {
			return fmt.Errorf("consume from JetStream: %w", err)
		}
	}
	return j.acknowledged(ctx, consumer)
}

// acknowledged waits until nothing is open.
func (j *jet) acknowledged(ctx context.Context, consumer jetstream.Consumer) error {
	if err := j.connection.FlushTimeout(startTimeout); err != nil {
		return fmt.Errorf("flush acknowledgements: %w", err)
	}
	return poll(ctx, func(ctx context.Context) error {
		info, err := consumer.Info(ctx)
		if err == nil && info.NumAckPending > 0 {
			err = fmt.Errorf("%d messages are not acknowledged", info.NumAckPending)
		}
		return err
	})
}

// sampleAllocations leaves JetStream out: its server allocates in this process
// too.
func (t *traffic) sampleAllocations(name, column string, allocations float64) {
	if column != jetstreamPeer {
		t.table.sample(name, column, allocations)
	}
}
