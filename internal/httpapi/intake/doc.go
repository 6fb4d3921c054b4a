// Package intake reads the body of a request that submits mail, as a stream: application/json,
// multipart/form-data and message/rfc822 become a submission.Request whose contents lie in a [Spool].
//
// Nothing in a body is held whole because of its size: strings, base64 and files run through buffers of some
// 32 KiB into memory up to a limit, and beyond that into one temporary file, which has no name from the moment it
// is made (where the system allows that), so that neither a broken upload nor a killed process leaves it behind.
//
// It judges the shape of a request only: grammar, types, sizes, unknown and repeated names, each fault with its
// JSON Pointer (RFC 6901), all of them at once. What the message says is judged by package mail, who may send it
// by package submission. It is called by the routes of package httpapi.
//
// It obeys RFC 8259 (JSON; stricter: no duplicate names, no lone surrogates), RFC 4648 §4 (base64), RFC 7578
// (multipart/form-data) and RFC 3339 (times).
package intake
