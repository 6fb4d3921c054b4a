// Package dispatch decides which message leaves next, over which relay and how fast, and hands it to package delivery.
//
// A Dispatcher watches the spool of package store: accepted messages are announced to it, and it looks once a second for everything
// else. Each relay that has messages due is drained by one goroutine, which claims small batches for the tenants in turn, hands them on in an order
// that is fair to all of them (turns), and keeps within the relay's limits: messages at the same time, messages a minute, recipients a day (limits), less of them
// while the relay asks us to slow down (slowdown), none while it cannot be reached (circuit) or refuses our password. Over all relays a node sends a bounded number of messages at the
// same time, which busy relays share (tokens). What a relay has been sent and why it is held is saved in its row, so that a restart
// begins where the process before it ended and everybody can be told why a message has not left.
//
// It does not speak SMTP, does not judge replies, and does not choose when a message is tried again: package delivery does, and records each outcome.
// It does not accept messages: the two lanes of the service meet in package store. cmd/postrider runs it.
//
// RFC 5321 §4.5.4.1 is the rule for a sender that queues: limited concurrency toward one host, and one failed connection
// tells about all messages for that host.
package dispatch
