package store

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
)

// hashSize is the size in octets of each hash of the audit log: SHA-256.
const hashSize = sha256.Size

// canonical hashes fields so that no two lists of fields give the same octets: each field has its
// length in front. What is hashed are values and not the database's text of them, because
// PostgreSQL keeps JSON in a form of its own.
type canonical struct{ hash.Hash }

// newCanonical begins with the name of what is hashed, so that a hash of one kind is never one of
// another.
func newCanonical(name string) canonical {
	c := canonical{sha256.New()}
	c.text(name)
	return c
}

func (c canonical) octets(b []byte) {
	c.number(int64(len(b)))
	c.Write(b) // a hash takes everything
}

func (c canonical) text(s string)       { c.octets([]byte(s)) }
func (c canonical) id(id uuid.UUID)     { c.octets(id[:]) }
func (c canonical) number(n int64)      { c.Write(binary.BigEndian.AppendUint64(nil, uint64(n))) }
func (c canonical) instant(t time.Time) { c.number(t.UnixMicro()) }

func (c canonical) pairs(m map[string]string) {
	c.number(int64(len(m)))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		c.text(k)
		c.text(m[k])
	}
}

func (c canonical) sum() []byte { return c.Sum(nil) }

// entryHash is what the chain holds of an entry. Of the personal data it covers the commitments
// only, so that the data can be erased and the chain stays whole.
func entryHash(e AuditEntry, actor, subject []byte) []byte {
	c := newCanonical("postrider audit entry 1")
	c.id(e.ID)
	c.id(e.TenantID)
	c.instant(e.At)
	c.text(string(e.Actor.Kind))
	c.id(e.Actor.UserID)
	c.text(e.Actor.TokenID)
	c.text(e.Actor.Role)
	c.text(e.Actor.RequestID)
	c.text(e.Action)
	c.text(e.TargetKind)
	c.text(e.TargetID)
	c.text(e.Outcome)
	c.number(int64(e.Count))
	c.pairs(e.Detail)
	c.octets(actor)
	c.octets(subject)
	return c.sum()
}

// commitment stands in an entry for personal data in a side row. The salt goes when the data is
// erased; without it nobody can find out the data by trying all addresses.
func commitment(salt []byte, data map[string]string) []byte {
	c := newCanonical("postrider audit person 1")
	c.octets(salt)
	c.pairs(data)
	return c.sum()
}

// linkHash is the hash of a link of the chain: of the one before it and of its entry.
func linkHash(prev, entry []byte) []byte {
	c := newCanonical("postrider audit link 1")
	c.octets(prev)
	c.octets(entry)
	return c.sum()
}

// chainStart is what the first link follows.
func chainStart() []byte { return make([]byte, hashSize) }

// AuditCheckpoint says that the audit chain had a certain link at a certain place. Kept outside of the
// database, in the log, it shows what was taken off the end of the chain or written anew.
type AuditCheckpoint struct {
	Seq       int64     `json:"seq"`       // the link's number, from 1
	Hash      []byte    `json:"hash"`      // the link's hash, which covers all before it
	At        time.Time `json:"signed_at"` // when it was signed
	Signature []byte    `json:"signature"` // by the CheckpointSigner
}

// signed is what a checkpoint's signature is made over.
func (p AuditCheckpoint) signed() []byte {
	b := []byte("postrider audit checkpoint 1\x00")
	b = binary.BigEndian.AppendUint64(b, uint64(p.Seq))
	b = binary.BigEndian.AppendUint64(b, uint64(p.At.UnixMicro()))
	return append(b, p.Hash...)
}
