package mail

import "math"

// Limits bounds a message. In each field zero means the default and -1 means
// no limit; nil *Limits means all defaults. Octets are counted after decoding:
// an attachment given as base64 text counts with the octets it stands for.
type Limits struct {
	// AddressOctets bounds local part, @ and domain as they are on the wire,
	// the domain as A-labels. Default 254: RFC 5321 §4.5.3.1.3 allows a path
	// of 256 with its angle brackets.
	AddressOctets int
	// LocalPartOctets bounds the local part as it is on the wire, with quotes
	// where it needs them. Default 64, RFC 5321 §4.5.3.1.1.
	LocalPartOctets int
	// NameOctets bounds a display name. Default 998.
	NameOctets int
	// SubjectOctets bounds the subject before encoding. Default 998, the
	// longest line of RFC 5322 §2.1.1.
	SubjectOctets int
	// TextOctets and HTMLOctets bound the two bodies. Default 100 MiB each.
	TextOctets, HTMLOctets int64
	// AttachmentOctets bounds each attachment. Default 25 MiB.
	AttachmentOctets int64
	// AttachmentsOctets bounds all attachments together. Default 100 MiB.
	AttachmentsOctets int64
	// Attachments bounds their number. Default 1000.
	Attachments int
	// Recipients bounds To, Cc and Bcc together, and ReplyTo alone. Default
	// 100: RFC 5321 §4.5.3.1.8 asks each server to take that many.
	Recipients int
	// HeaderFields bounds the number of custom header fields, and of
	// References and ListUnsubscribe entries. Default 100.
	HeaderFields int
	// FieldOctets bounds the value of one custom header field before
	// encoding. Default 32 KiB; servers cut fields at about 100 KB.
	FieldOctets int
}

// DefaultLimits gives the limits that a nil *Limits stands for.
func DefaultLimits() Limits {
	return Limits{
		AddressOctets:     254,
		LocalPartOctets:   64,
		NameOctets:        998,
		SubjectOctets:     998,
		TextOctets:        100 << 20,
		HTMLOctets:        100 << 20,
		AttachmentOctets:  25 << 20,
		AttachmentsOctets: 100 << 20,
		Attachments:       1000,
		Recipients:        100,
		HeaderFields:      100,
		FieldOctets:       32 << 10,
	}
}

// resolved gives l with defaults in place of zeros and the largest number in
// place of "no limit", so that checks only compare.
func (l *Limits) resolved() Limits {
	r := DefaultLimits()
	if l == nil {
		return r
	}
	pick(&r.AddressOctets, l.AddressOctets, math.MaxInt)
	pick(&r.LocalPartOctets, l.LocalPartOctets, math.MaxInt)
	pick(&r.NameOctets, l.NameOctets, math.MaxInt)
	pick(&r.SubjectOctets, l.SubjectOctets, math.MaxInt)
	pick(&r.TextOctets, l.TextOctets, math.MaxInt64)
	pick(&r.HTMLOctets, l.HTMLOctets, math.MaxInt64)
	pick(&r.AttachmentOctets, l.AttachmentOctets, math.MaxInt64)
	pick(&r.AttachmentsOctets, l.AttachmentsOctets, math.MaxInt64)
	pick(&r.Attachments, l.Attachments, math.MaxInt)
	pick(&r.Recipients, l.Recipients, math.MaxInt)
	pick(&r.HeaderFields, l.HeaderFields, math.MaxInt)
	pick(&r.FieldOctets, l.FieldOctets, math.MaxInt)
	return r
}

// pick puts a caller's setting in place of a default: zero keeps the default,
// anything below zero is no limit.
func pick[N int | int64](into *N, given, unlimited N) {
	switch {
	case given < 0:
		*into = unlimited
	case given > 0:
		*into = given
	}
}
