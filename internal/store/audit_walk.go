package store

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"

	"github.com/google/uuid"
)

// AuditFaultKind is what was done to the audit log.
type AuditFaultKind string

// The kinds of faults.
const (
	AuditChanged   AuditFaultKind = "changed"    // an entry, its personal data or its link is not what was written
	AuditRemoved   AuditFaultKind = "removed"    // an entry or its link is gone
	AuditReordered AuditFaultKind = "reordered"  // a link stands at another place than it was made for
	AuditInserted  AuditFaultKind = "inserted"   // an entry or a link was put in past the chain
	AuditCutOff    AuditFaultKind = "cut_off"    // the end of the chain is gone
	AuditRewritten AuditFaultKind = "rewritten"  // the chain holds together, but is not the one that a checkpoint was signed for
	AuditForged    AuditFaultKind = "checkpoint" // a checkpoint's signature is not by our key
)

// AuditFault names one fault of the audit log.
type AuditFault struct {
	Kind AuditFaultKind `json:"kind"`
	// Seq is the number of the link concerned, and To that of the last one if it is several; Seq is 0 for
	// an entry that has no link.
	Seq int64 `json:"seq"`
	To  int64 `json:"to"`
	// EntryID and TenantID name the entry; uuid.Nil if nothing of it is left to tell.
	EntryID  uuid.UUID `json:"entry_id,omitzero"`
	TenantID uuid.UUID `json:"tenant_id,omitzero"`
	Text     string    `json:"text"` // what was found, in a sentence for people
}

// String is one line: kind, place, entry, what was found.
func (f AuditFault) String() string {
	s := string(f.Kind)
	switch {
	case f.To > f.Seq:
		s += fmt.Sprintf(" seq %d to %d", f.Seq, f.To)
	case f.Seq > 0:
		s += fmt.Sprintf(" seq %d", f.Seq)
	}
	if f.EntryID != uuid.Nil {
		s += " entry " + f.EntryID.String()
	}
	if f.TenantID != uuid.Nil {
		s += " of tenant " + f.TenantID.String()
	}
	return s + ": " + f.Text
}

// step is one place of the chain as it is found: the link, the entry that it is for, and the
// checkpoint that was signed there.
type step struct {
	link
	found      kept // found.ID is uuid.Nil if the entry is gone
	checkpoint *AuditCheckpoint
}

// entryFault compares the entry with what its link holds.
func (s *step) entryFault() (AuditFaultKind, string) {
	if s.found.ID == uuid.Nil {
		return AuditRemoved, "the entry is gone, its link is left"
	}
	got := entryHash(s.found.AuditEntry, s.found.committed(partActor), s.found.committed(partSubject))
	if !bytes.Equal(got, s.entryHash) {
		return AuditChanged, "the entry is not what it was when it was chained"
	}
	for _, p := range s.found.parts {
		if p.salt == nil {
			continue // there never was any, or it was erased
		}
		if !bytes.Equal(commitment(p.salt, p.data), p.commitment) {
			return AuditChanged, "the personal data beside the entry is not what it was"
		}
	}
	return "", ""
}

// walk goes along the chain, a step at a time, and holds two of them.
type walk struct {
	verifier CheckpointVerifier // nil: signatures are not looked at
	fault    func(AuditFault)
	// find looks for a link by its hash, to tell what was moved from what is gone. It is asked at
	// faults only.
	find func(ctx context.Context, hash []byte) (seq int64, err error) // 0: there is none

	prev   link   // the link before; seq 0 and the hash that chains start with at first
	before []byte // the hash before that
	after  []byte // not nil: the hash to go on with behind the next step, whose place was exchanged with its neighbour's
	lost   bool   // what the next link should follow is not known

	links, erased, checkpoints int64
	good                       AuditCheckpoint // the last one that agreed
	faults                     int64           // since that one

	// doubt is what the last step's checkpoint said against it. It waits for the step behind, which may say
	// more: that the last one was put in.
	doubt *AuditFault
}

func newWalk(v CheckpointVerifier, find func(context.Context, []byte) (int64, error), fault func(AuditFault)) *walk {
	w := &walk{verifier: v, find: find, prev: link{hash: chainStart()}}
	w.fault = func(f AuditFault) {
		w.settle()
		w.faults++
		fault(f)
	}
	return w
}

// settle reports what waits to be reported.
func (w *walk) settle() {
	if f := w.doubt; f != nil {
		w.doubt = nil
		w.fault(*f)
	}
}

// next takes a step; ahead is the one behind it, nil at the end.
func (w *walk) next(ctx context.Context, s, ahead *step) error {
	w.links++
	belongs, err := w.link(ctx, s, ahead)
	if err != nil {
		return err
	}
	w.settle()
	if kind, text := s.entryFault(); kind != "" {
		if kind == AuditChanged && ahead != nil && bytes.Equal(entryHash(s.found.AuditEntry, s.found.committed(partActor), s.found.committed(partSubject)), ahead.entryHash) {
			kind, text = AuditReordered, "it is the entry of the link behind"
		}
		w.report(s, kind, text)
	}
	for _, p := range s.found.parts {
		if p != nil && p.salt == nil && p.commitment != nil {
			w.erased++
		}
	}
	w.atCheckpoint(s)
	hash := s.hash
	switch {
	case !belongs:
		hash = w.prev.hash
	case w.after != nil:
		hash, w.after = w.after, nil
	}
	if belongs {
		w.before = w.prev.hash
	}
	w.prev = s.link
	w.prev.hash = hash
	return nil
}

// link checks that s follows what stands before it. It reports false if s does not belong here, so that
// what comes next follows what was before s.
func (w *walk) link(ctx context.Context, s, ahead *step) (belongs bool, err error) {
	lost := w.lost
	w.lost = false
	if s.seq != w.prev.seq+1 {
		w.fault(AuditFault{
			Kind: AuditRemoved, Seq: w.prev.seq + 1, To: s.seq - 1,
			Text: "the links are gone, and with them what tells which entries they were for",
		})
		lost = true // one fault has one name
	}
	if !bytes.Equal(linkHash(s.prev, s.entryHash), s.hash) {
		if ahead != nil && bytes.Equal(ahead.prev, w.prev.hash) {
			w.report(s, AuditInserted, "its hash is not that of what it holds, and the link behind it follows the one before it")
			return false, nil
		}
		w.report(s, AuditChanged, "the link's hash is not that of what it holds")
		w.lost = true
		return true, nil
	}
	if lost || bytes.Equal(s.prev, w.prev.hash) {
		return true, nil
	}
	if w.before != nil && bytes.Equal(s.prev, w.before) {
		w.doubt = nil
		w.report(&step{link: w.prev}, AuditInserted, "the link behind it follows the one before it")
		return true, nil
	}
	if ahead != nil && bytes.Equal(ahead.prev, w.prev.hash) {
		if bytes.Equal(s.prev, ahead.hash) {
			w.report(s, AuditReordered, "its place and that of the link behind it were exchanged")
			w.after = s.hash
			return false, nil
		}
		w.report(s, AuditInserted, "it follows nothing, and the link behind it follows the one before it")
		return false, nil
	}
	at, err := w.find(ctx, s.prev)
	switch {
	case err != nil:
		return false, err
	case at > 0:
		w.report(s, AuditReordered, fmt.Sprintf("it was made to follow what is now seq %d", at))
	default:
		w.fault(AuditFault{
			Kind: AuditRemoved, Seq: s.seq, To: s.seq,
			Text: "what stood here is gone: the link that is here now, of entry " + s.entry.String() + ", follows one that does not exist",
		})
	}
	return true, nil
}

func (w *walk) report(s *step, kind AuditFaultKind, text string) {
	w.fault(AuditFault{Kind: kind, Seq: s.seq, To: s.seq, EntryID: s.entry, TenantID: s.tenant, Text: text})
}

// atCheckpoint compares a link with the checkpoint that was signed for its place.
func (w *walk) atCheckpoint(s *step) {
	p := s.checkpoint
	if p == nil || !w.signed(*p) {
		return
	}
	w.checkpoints++
	if bytes.Equal(p.Hash, s.hash) {
		w.good, w.faults = *p, 0
		return
	}
	if w.faults == 0 { // or that is how it came to be another one
		f := rewritten(w.good.Seq, *p)
		w.doubt = &f
	}
}

func rewritten(good int64, p AuditCheckpoint) AuditFault {
	return AuditFault{
		Kind: AuditRewritten, Seq: good + 1, To: p.Seq,
		Text: fmt.Sprintf("the checkpoint of %s at seq %d was signed for another chain, with the hash %s", p.At.Format("2006-01-02 15:04:05Z"), p.Seq, hex.EncodeToString(p.Hash)),
	}
}

// signed reports whether a checkpoint of the database may be believed.
func (w *walk) signed(p AuditCheckpoint) bool {
	if w.verifier == nil || w.verifier.Verify(p.Signature, p.signed()) == nil {
		return true
	}
	w.fault(AuditFault{Kind: AuditForged, Seq: p.Seq, To: p.Seq, Text: "the checkpoint is not signed by any of the given keys"})
	return false
}
