// Package dkim signs composed messages with DKIM (RFC 6376), with RSA or
// Ed25519 keys (RFC 8301, RFC 8463), over their final octets.
//
// It canonicalises header and body relaxed, covers the fields that readers
// and filters rely on, List-Unsubscribe and List-Unsubscribe-Post among them
// (RFC 8058 §4), and signs From and its like once more than they appear, so
// that none can be added later (RFC 6376 §8.15). It does not verify
// signatures, look up DNS or make keys.
//
// Whoever composes messages uses it: a program through the Sign setting of
// package postrider, or directly. Sign with several Signers one after the
// other for several signatures, for instance RSA and Ed25519.
package dkim
