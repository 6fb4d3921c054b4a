// Package httpapi answers HTTP: the routes of the API under /v1, the chain of middleware that every request passes
// (chain.go, the one place that shows its order), problem documents, the OpenAPI document, and the pages for machines
// /healthz, /readyz, /metrics and /openapi.json.
//
// It reads requests, asks who sent them and whether they may, calls the store, and writes answers. It sends no mail,
// listens on no socket and reads no settings: cmd/postrider fills in Config, serves Handler and keeps Run going. An
// operation is registered by register (operation.go) alone, which demands who may call it, documents that and
// enforces it, so that the three cannot differ.
//
// It follows RFC 9110 (HTTP), RFC 9457 (problem documents), RFC 6901 (JSON Pointer), RFC 6750 (bearer tokens, by way
// of package auth), RFC 6797 (HSTS), draft-ietf-httpapi-ratelimit-headers (by way of package ratelimit), the Fetch
// standard's CORS protocol and OpenAPI 3.1. The manual for callers is docs/api.md.
package httpapi
