// Package chaos is a test suite: it breaks a running service in every way that it must survive, under load and at random
// moments, and counts what arrives. The service is the real program as a process of its own, on SQLite and on PostgreSQL,
// or three of them on one PostgreSQL with a standby; the relay is ours, so that every copy of every message is counted where it arrives.
//
// What must hold: a message that was answered with 202 arrives, or GET /v1/messages/{id} says what became of it; under
// on_unknown=hold nothing arrives twice, under retry nothing more than twice; requests that are repeated with one
// Idempotency-Key make one message. docs/reliability.md has the promises and the figures of a long run, which `make chaos`
// and `make chaos-cluster` make.
//
// The package has nothing but tests, and what it tests it reaches by HTTP and SMTP alone.
package chaos
