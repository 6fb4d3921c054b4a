// Package seal encrypts the secrets that the service must be able to read again, such
// as relay passwords, and signs the checkpoints of the audit log. Secrets that need only
// be recognised (passwords of users, API keys, tokens) are hashed by package auth and
// never come here.
//
// A sealed secret is an AES-256-GCM ciphertext of the Tink library. The tenant and the
// purpose ("relay password") are its associated data: copied to another tenant's row or
// to another column it does not open. Its first five octets name the key, so that
// [Sealer.Stale] finds what an older key sealed without opening it.
//
// # Keysets
//
// Keys come in keysets, which are Tink keysets in JSON, in the clear: package config reads them
// from the environment or from a file of mode 0600. There are two kinds. [Generate] makes
// one for sealing, [GenerateSigning] one of Ed25519 keys (RFC 8032) for [Signer]. Neither
// is ever kept in the database, whose reader must not be able to open the secrets and whose
// writer must not be able to sign another history.
//
// # Rotation
//
// One key of a keyset is the primary: it seals and signs. All of them open and verify. A
// node that meets a secret of a key which it has not been given cannot open it, so where several
// nodes run, rotation takes two steps and each must have reached every node, by a restart with the
// new keyset, before the next:
//
//  1. [AddKey] adds a key that only opens. Give this keyset to all nodes.
//  2. [Promote] makes it the primary. Give this keyset to all nodes; then seal again all for which
//     [Sealer.Stale] says true.
//  3. [DropOld] takes away the keys before the primary. What is still sealed with one
//     of them is lost with it, so ask Stale of every row first. Older keys of a signing keyset are
//     needed for as long as checkpoints that they signed are to be verified: keep those.
//
// One node alone may take the first two steps at once: [Rotate].
//
// The package reads no files and no settings, and knows no database. Its errors and its values, when
// printed, show no secret and no key: they name keys by their ids at most.
package seal
