// Package deptest holds tests of the whole repository and nothing else: who may import
// whom, which libraries the public packages may bring to their users, and a few rules
// that every source file obeys.
//
// The import table stands once, in table_test.go. The depguard block of .golangci.yml
// is written from it, so that an editor shows a forbidden import as it is typed:
//
//	go test ./internal/deptest -update
//
// A new package needs a row in the table. Nobody imports this package.
package deptest
