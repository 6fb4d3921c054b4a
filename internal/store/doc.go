// Package store keeps the service's rows: tenants, users, credentials, the audit log and the message side, over
// SQLite (one file, the embedded default) or PostgreSQL 15 and newer (several nodes). There is one code for both; the
// few places where the databases differ ask their transaction.
//
// Every call runs in a scope that says who asks: a tenant, the operator of the installation, or delivery, which works
// for all tenants. Every query of a tenant names the tenant in its WHERE. On PostgreSQL row-level security is the
// second lock: the scope is set for each transaction and the database shows no other tenant's rows, whatever the query
// says. SQLite has the first lock only.
//
// A method that changes something writes its audit entry in the same transaction. Errors tell apart what the caller
// can mend (ErrNotFound, *ConflictError, ErrLastAdmin, …), what passes by itself (ErrUnavailable) and the end of the
// caller's context; all others are faults of the program or of the database.
//
// The package checks no permissions: who calls it has asked package auth. It imports auth for the words of
// principals only, and nothing above it.
package store
