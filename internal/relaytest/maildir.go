package relaytest

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// maildir reads the one maildir into which a server puts all mail. Each file
// begins with a field that names the envelope recipient; a directory for each
// mailbox would need file names made from addresses, which both Postfix and
// Exim refuse as unsafe.
type maildir struct {
	dir   string // the maildir itself; its new/ holds the messages
	field string // lower case, with the colon: "delivered-to:"

	mu    sync.Mutex
	known map[string]stored // by file name
}

type stored struct {
	mailbox string // lower case
	when    time.Time
	file    string
}

// scan reads what is new and returns the messages for mailbox, oldest first.
func (m *maildir) scan(mailbox string) ([]stored, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir := filepath.Join(m.dir, "new")
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	for _, e := range entries {
		if _, ok := m.known[e.Name()]; ok {
			continue
		}
		s, err := m.index(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		m.known[e.Name()] = s
	}
	want := strings.ToLower(mailbox)
	var found []stored
	for _, s := range m.known {
		if s.mailbox == want {
			found = append(found, s)
		}
	}
	slices.SortFunc(found, func(a, b stored) int {
		return cmp.Or(a.when.Compare(b.when), strings.Compare(a.file, b.file))
	})
	return found, nil
}

func (m *maildir) index(file string) (stored, error) {
	info, err := os.Stat(file)
	if err != nil {
		return stored{}, err
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return stored{}, err
	}
	for line := range bytes.Lines(raw) {
		if len(bytes.TrimSpace(line)) == 0 {
			break
		}
		if len(line) > len(m.field) && strings.EqualFold(string(line[:len(m.field)]), m.field) {
			mailbox := strings.ToLower(strings.TrimSpace(string(line[len(m.field):])))
			return stored{mailbox: mailbox, when: info.ModTime(), file: file}, nil
		}
	}
	return stored{}, fmt.Errorf("%s: no field %q", file, m.field)
}

// read returns the stored messages for mailbox, oldest first.
func (m *maildir) read(mailbox string) ([][]byte, error) {
	found, err := m.scan(mailbox)
	if err != nil {
		return nil, err
	}
	var messages [][]byte
	for _, s := range found {
		raw, err := os.ReadFile(s.file)
		if err != nil {
			return nil, err
		}
		messages = append(messages, raw)
	}
	return messages, nil
}

// wait waits until at least n messages for mailbox are there.
func (m *maildir) wait(ctx context.Context, mailbox string, n int) ([][]byte, error) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		found, err := m.scan(mailbox)
		if err != nil {
			return nil, err
		}
		if len(found) >= n {
			return m.read(mailbox)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%d of %d messages for %s: %w", len(found), n, mailbox, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// WithoutTrace returns a stored message without the fields that the servers of
// this package put before it (Return-Path, Delivered-To, X-Original-To,
// Envelope-To, Delivery-Date, Received and their continuation lines), and with
// CRLF line ends. What is left is the content as the client transmitted it, if
// that began with none of these fields (RFC 5321 §4.4).
func WithoutTrace(raw []byte) []byte {
	rest := raw
	inTrace := false
	for len(rest) > 0 {
		end := bytes.IndexByte(rest, '\n') + 1
		if end == 0 {
			break
		}
		folded := rest[0] == ' ' || rest[0] == '\t'
		if folded && !inTrace || !folded && !isTrace(rest[:end]) {
			break
		}
		inTrace = true
		rest = rest[end:]
	}
	crlf := bytes.ReplaceAll(rest, []byte("\r\n"), []byte("\n"))
	return bytes.ReplaceAll(crlf, []byte("\n"), []byte("\r\n"))
}

func isTrace(line []byte) bool {
	name, _, ok := bytes.Cut(line, []byte(":"))
	if !ok {
		return false
	}
	switch strings.ToLower(string(name)) {
	case "return-path", "delivered-to", "x-original-to", "envelope-to", "delivery-date", "received":
		return true
	}
	return false
}
