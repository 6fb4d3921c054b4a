// Package operation has no code of its own: its tests do to the running service what an operator does, with real processes and the real tools
// of PostgreSQL, and count at the receiving server. They upgrade nodes one by one, restore backups, and follow docs/upgrade.md and
// docs/backup.md while messages come in.
package operation
