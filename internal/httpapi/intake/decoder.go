package intake

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync"

	"github.com/postrider/postrider/internal/submission"
	"github.com/postrider/postrider/mail"
)

const (
	// DefaultMaxOctets bounds a body: 100 MB of text whose every character is an escape of JSON takes 300 MB, and
	// the limits of mail allow as much HTML beside it, and attachments as base64.
	DefaultMaxOctets = 768 << 20
	// DefaultMemoryOctets is how much of a request's contents stays in memory. Most mail fits, and a thousand
	// requests at once still do.
	DefaultMemoryOctets = 256 << 10
	// bodyMemory is up to which size a text or HTML body becomes a string: what mail renders in one piece.
	bodyMemory = 64 << 10
	// MaxBatch is how many messages one batch may have.
	MaxBatch = 500
)

// Config holds the settings of a [Decoder]. Its zero value is good defaults. It is copied by New.
type Config struct {
	// Dir is where contents too large for memory are spooled; empty: the system's temporary directory.
	Dir string
	// MemoryOctets is how much of the contents of one request stays in memory; 0: [DefaultMemoryOctets].
	MemoryOctets int
	// MaxOctets bounds a body as it comes over the wire; 0: [DefaultMaxOctets].
	MaxOctets int64
	// SpoolMemory is how many octets the contents of all requests at once may take up in memory; what comes more goes to
	// the disk. 0: [DefaultSpoolMemory].
	SpoolMemory int64
	// SpoolDisk is how many they may take up in Dir; what comes more is refused with an [*Error] of kind NoSpace, and may
	// be tried again when others have ended. 0: [DefaultSpoolDisk].
	SpoolDisk int64
	// Limits bounds the message; the zero value: the limits of package mail.
	Limits mail.Limits
}

// Decoder reads bodies. It is safe for concurrent use.
type Decoder struct {
	dir    string
	memory int
	max    int64
	limits mail.Limits
	room   *room
	idle   sync.Pool // of *reading
}

// New makes a decoder.
func New(cfg Config) *Decoder {
	d := &Decoder{dir: cfg.Dir, memory: cfg.MemoryOctets, max: cfg.MaxOctets, limits: resolve(cfg.Limits), room: &room{
		mostMemory: cmp.Or(cfg.SpoolMemory, DefaultSpoolMemory), mostDisk: cmp.Or(cfg.SpoolDisk, DefaultSpoolDisk),
	}}
	if d.memory == 0 {
		d.memory = DefaultMemoryOctets
	}
	if d.max == 0 {
		d.max = DefaultMaxOctets
	}
	return d
}

// resolve fills in the limits that matter here. "No limit" becomes one that only guards memory.
func resolve(l mail.Limits) mail.Limits {
	d := mail.DefaultLimits()
	const many, long, huge = 100_000, 1 << 20, 1 << 50
	pick := func(n *int, standard, none int) {
		switch *n {
		case 0:
			*n = standard
		case -1:
			*n = none
		}
	}
	pick64 := func(n *int64, standard int64) {
		switch *n {
		case 0:
			*n = standard
		case -1:
			*n = huge
		}
	}
	pick(&l.SubjectOctets, d.SubjectOctets, long)
	pick(&l.FieldOctets, d.FieldOctets, long)
	pick(&l.Attachments, d.Attachments, many)
	pick(&l.Recipients, d.Recipients, many)
	pick(&l.HeaderFields, d.HeaderFields, many)
	pick64(&l.TextOctets, d.TextOctets)
	pick64(&l.HTMLOctets, d.HTMLOctets)
	pick64(&l.AttachmentOctets, d.AttachmentOctets)
	pick64(&l.AttachmentsOctets, d.AttachmentsOctets)
	return l
}

// Options say how one body is read.
type Options struct {
	// ArrayContent lets the content of an attachment also be an array of octets, as [72,105], or an object
	// {"type":"Buffer","data":[72,105]}, which several programs send in place of base64.
	ArrayContent bool
}

// Decoded is one message as it was read. Close it when the request has ended.
type Decoded struct {
	// Request is what was read; where a fault is, the field is missing.
	Request submission.Request
	// Faults are what is wrong with the shape; empty: nothing. They keep the message from being accepted.
	Faults []Fault
	// Warnings are fields that are not known, and so were not read.
	Warnings []Fault

	spool        *Spool
	prefix       string // of every pointer: "/3" in a batch
	headerObject bool   // headers came as an object, not as an array
}

// Close frees the contents. It may be called more than once.
func (d *Decoded) Close() error { return d.spool.Close() }

// Decode reads the body of a request that submits one message. An error is an [*Error]: the body could not be
// read to its end. Without one, look at Faults; and close what was given, in both cases.
func (d *Decoder) Decode(header http.Header, body io.Reader, o Options) (*Decoded, error) {
	mediaType, params, err := contentType(header)
	if err != nil {
		return d.nothing(), err
	}
	r := d.begin(body, o)
	defer d.end(r)
	r.start("")
	switch mediaType {
	case "application/json", "text/json":
		err = r.document()
	case "multipart/form-data":
		err = r.form(params["boundary"])
	case "message/rfc822", "message/global":
		err = r.raw(header)
	default:
		err = &Error{Kind: Unsupported, Detail: fmt.Sprintf("media type %s cannot be read here; send application/json, multipart/form-data or message/rfc822", show(mediaType))}
	}
	return r.out, asError(err)
}

// Batch reads the body of a request that submits an array of messages, and hands each to each, which owns it and
// closes it. It stops at the first error: each's own, or an [*Error].
func (d *Decoder) Batch(header http.Header, body io.Reader, o Options, each func(i int, m *Decoded) error) error {
	mediaType, _, err := contentType(header)
	if err != nil {
		return err
	}
	if mediaType != "application/json" {
		return &Error{Kind: Unsupported, Detail: fmt.Sprintf("media type %s cannot be read here; send application/json", show(mediaType))}
	}
	r := d.begin(body, o)
	defer d.end(r)
	return r.batch(each)
}

// nothing is what is given where nothing was read.
func (d *Decoder) nothing() *Decoded { return &Decoded{spool: NewSpool(d.dir, 0)} }

// contentType reads the header fields that say what the body is.
func contentType(header http.Header) (string, map[string]string, error) {
	if e := header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return "", nil, &Error{Kind: Unsupported, Detail: fmt.Sprintf("content encoding %s cannot be read; send the body as it is", show(e))}
	}
	value := header.Get("Content-Type")
	if value == "" {
		return "", nil, &Error{Kind: Unsupported, Detail: "the request has no Content-Type; send application/json, multipart/form-data or message/rfc822"}
	}
	mediaType, params, err := mime.ParseMediaType(value)
	if err != nil {
		return "", nil, &Error{Kind: Unsupported, Detail: fmt.Sprintf("content type %s cannot be read; send application/json", show(value))}
	}
	if c := params["charset"]; c != "" && !strings.EqualFold(c, "utf-8") && !strings.EqualFold(c, "us-ascii") {
		return "", nil, &Error{Kind: Unsupported, Detail: fmt.Sprintf("charset %s cannot be read; send UTF-8", show(c))}
	}
	return mediaType, params, nil
}

// begin takes a reading out of the pool and points it at a body.
func (d *Decoder) begin(body io.Reader, o Options) *reading {
	r, ok := d.idle.Get().(*reading)
	if !ok {
		r = &reading{}
	}
	r.decoder, r.options = d, o
	r.input = limitedReader{r: body, left: d.max, limit: d.max}
	r.scan.reset(&r.input)
	return r
}

// end gives a reading back, without the caller's data.
func (d *Decoder) end(r *reading) {
	r.input = limitedReader{}
	r.scan.reset(nil)
	r.out, r.message = nil, nil
	r.path = r.path[:0]
	const worthKeeping = bodyMemory
	if cap(r.text.p) > worthKeeping {
		r.text.p = nil
	}
	d.idle.Put(r)
}

// limitedReader reads a body up to its limit and makes its errors ours.
type limitedReader struct {
	r           io.Reader
	left, limit int64
}

// Read reads on.
func (l *limitedReader) Read(p []byte) (int, error) {
	if int64(len(p)) > l.left+1 {
		p = p[:l.left+1]
	}
	n, err := l.r.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, &Error{Kind: TooLarge, Detail: fmt.Sprintf("the body has more than %d octets", l.limit)}
	}
	if err == nil || err == io.EOF {
		return n, err
	}
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return n, &Error{Kind: TooLarge, Detail: fmt.Sprintf("the body has more than %d octets", tooLarge.Limit), Err: err}
	}
	return n, readError(err)
}

// asError makes sure that what is given is nil or an *Error.
func asError(err error) error {
	if err == nil {
		return nil
	}
	return readError(err)
}
