package mail

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"unsafe"
)

// transferEncoding is how the octets of a part are written, RFC 2045 §6.
type transferEncoding uint8

const (
	encoding7Bit transferEncoding = iota // text with CRLF line ends, else as it is
	encoding8Bit                         // the same with octets over 127
	encodingQuoted
	encodingBase64     // octets as they are
	encodingBase64Text // text, brought to CRLF line ends first (RFC 2045 §6.8)
)

// String gives the value of Content-Transfer-Encoding.
func (e transferEncoding) String() string {
	switch e {
	case encoding7Bit:
		return "7bit"
	case encoding8Bit:
		return "8bit"
	case encodingQuoted:
		return "quoted-printable"
	default:
		return "base64"
	}
}

// encoder is one way to write octets. append may be called any number of
// times, finish once after it. The result depends on the octets alone.
type encoder interface {
	append(out, p []byte) []byte
	finish(out []byte) []byte
}

// newEncoder gives the encoder for e.
func newEncoder(e transferEncoding) encoder {
	switch e {
	case encodingQuoted:
		return &qpEncoder{}
	case encodingBase64:
		return &base64Lines{}
	case encodingBase64Text:
		return &base64Text{}
	default:
		return &lineEnds{}
	}
}

// lineEnds brings all line ends (LF, CR, CRLF) to CRLF.
type lineEnds struct{ cr bool }

// append appends p with its line ends mended.
func (e *lineEnds) append(out, p []byte) []byte {
	if e.cr && len(p) > 0 {
		e.cr = false
		if p[0] == '\n' {
			p = p[1:]
		}
	}
	for len(p) > 0 {
		i := lineEnd(p)
		if i < 0 {
			return append(out, p...)
		}
		out = append(out, p[:i]...)
		out = append(out, "\r\n"...)
		if p[i] == '\r' {
			if i+1 == len(p) {
				e.cr = true
			} else if p[i+1] == '\n' {
				i++
			}
		}
		p = p[i+1:]
	}
	return out
}

// finish has nothing to add.
func (e *lineEnds) finish(out []byte) []byte { return out }

// lineEnd is the index of the first CR or LF in p, -1 if there is none. It
// looks in windows: a text with one kind of line end only would otherwise be
// searched to its end for the other kind at each of its lines.
func lineEnd(p []byte) int {
	const window = 512
	for at := 0; at < len(p); at += window {
		w := p[at:min(at+window, len(p))]
		lf := bytes.IndexByte(w, '\n')
		if lf >= 0 {
			w = w[:lf]
		}
		if cr := bytes.IndexByte(w, '\r'); cr >= 0 {
			return at + cr
		}
		if lf >= 0 {
			return at + lf
		}
	}
	return -1
}

// base64Text is base64Lines over text with CRLF line ends.
type base64Text struct {
	ends  lineEnds
	lines base64Lines
	text  []byte
}

// append encodes p behind out.
func (e *base64Text) append(out, p []byte) []byte {
	e.text = e.ends.append(e.text[:0], p)
	return e.lines.append(out, e.text)
}

// finish encodes what is left.
func (e *base64Text) finish(out []byte) []byte { return e.lines.finish(out) }

// textFacts is what must be known of a text to choose its encoding. The zero
// value is ready; add may be called for each piece of the text.
type textFacts struct {
	// highDecides says that octets over 127 settle the encoding, so that in
	// text which has them control characters need not be looked for.
	highDecides bool

	octets  int64 // as given
	high    int64 // octets over 127
	equals  int64 // "=" signs, for the size in quoted-printable
	breaks  int64 // line ends
	pairs   int64 // line ends that are CRLF already
	longest int   // the longest line without its end
	line    int   // the length of the line that is not ended yet
	control bool  // control characters other than TAB, CR and LF
	nulAt   int64 // the number of the first line with a NUL, from 1; 0: none
	longAt  int64 // the number of the first line over 998 octets; 0: none
	from    bool  // a line begins with "From "
	bareCR  bool  // a CR without LF
	cr      bool
	ended   bool // the last octet ended a line
	head    [5]byte
}

// add looks at the next piece of the text.
func (f *textFacts) add(p []byte) {
	f.addHigh(p, countHigh(p))
}

// addWhole is add for a text that comes in one piece and is not streamed, with
// high octets over 127. If they decide and its line ends look like one kind, no
// line need be looked at: what is left out is asked for no more.
func (f *textFacts) addWhole(p []byte, high int) {
	returns, breaks := bytes.Count(p, []byte("\r")), bytes.Count(p, []byte("\n"))
	if !f.highDecides || high == 0 || returns != 0 && returns != breaks {
		f.addHigh(p, high)
		return
	}
	last := p[len(p)-1]
	*f = textFacts{
		highDecides: true, octets: int64(len(p)), high: int64(high), equals: int64(bytes.Count(p, []byte("="))),
		breaks: int64(breaks), pairs: int64(returns), ended: last == '\n' || last == '\r',
	}
}

// addHigh is add for a piece with high octets over 127.
func (f *textFacts) addHigh(p []byte, high int) {
	before := *f
	f.octets += int64(len(p))
	f.equals += int64(bytes.Count(p, []byte("=")))
	if !f.addClean(p, high) {
		before.octets, before.equals = f.octets, f.equals
		*f = before
		f.addAny(p)
	}
}

// addClean is addAny for what nearly all text is: line ends that are LF or CRLF,
// no control character but TAB. It looks at all octets together and then at each
// line's length only. False: it is not so, and what was noted is wrong.
func (f *textFacts) addClean(p []byte, high int) bool {
	if f.cr {
		return false
	}
	f.high += int64(high)
	returns := bytes.Count(p, []byte("\r"))
	if high == 0 || !f.highDecides {
		if countControl(p) != bytes.Count(p, []byte("\t"))+returns+bytes.Count(p, []byte("\n")) {
			return false
		}
	}
	pairs := 0
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		line := p
		if i >= 0 {
			line = p[:i]
			if i > 0 && line[i-1] == '\r' {
				line = line[:i-1]
				pairs++
			}
		}
		if len(line) > 0 {
			f.noteLine(line)
		}
		if i < 0 {
			break
		}
		f.breaks++
		f.line = 0
		f.ended = true
		p = p[i+1:]
	}
	f.pairs += int64(pairs)
	return pairs == returns
}

// addAny looks at the next piece of any text.
func (f *textFacts) addAny(p []byte) {
	for len(p) > 0 {
		if f.cr {
			f.cr = false
			if p[0] == '\n' {
				f.pairs++
				p = p[1:]
				continue
			}
			f.bareCR = true
		}
		i := lineEnd(p)
		piece := p
		if i >= 0 {
			piece = p[:i]
		}
		f.addLine(piece)
		if i < 0 {
			break
		}
		f.breaks++
		f.line = 0
		f.ended = true
		f.cr = p[i] == '\r'
		p = p[i+1:]
	}
}

// addLine looks at a piece of one line.
func (f *textFacts) addLine(p []byte) {
	if len(p) == 0 {
		return
	}
	f.noteLine(p)
	f.high += int64(countHigh(p))
	if countControl(p) > 0 {
		for _, c := range p {
			f.control = f.control || c < ' ' && c != '\t' || c == 0x7f
			if c == 0 && f.nulAt == 0 {
				f.nulAt = f.breaks + 1
			}
		}
	}
}

// noteLine notes the length and the beginning of a piece of one line.
func (f *textFacts) noteLine(p []byte) {
	if f.line < len(f.head) {
		n := f.line + copy(f.head[f.line:], p)
		f.from = f.from || n == len(f.head) && string(f.head[:]) == "From "
	}
	f.line += len(p)
	f.longest = max(f.longest, f.line)
	if f.line > hardLine && f.longAt == 0 {
		f.longAt = f.breaks + 1
	}
	f.ended = false
}

// countHigh counts the octets over 127 in p.
func countHigh(p []byte) int {
	n := 0
	for ; len(p) >= 4*wordOctets; p = p[4*wordOctets:] {
		// One bit of each octet is asked for, so four words fit into one.
		x := binary.LittleEndian.Uint64(p) >> 3 & (highBits >> 3)
		x |= binary.LittleEndian.Uint64(p[wordOctets:]) >> 2 & (highBits >> 2)
		x |= binary.LittleEndian.Uint64(p[2*wordOctets:]) >> 1 & (highBits >> 1)
		x |= binary.LittleEndian.Uint64(p[3*wordOctets:]) & highBits
		n += bits.OnesCount64(x)
	}
	for _, c := range p {
		n += int(c >> 7)
	}
	return n
}

// countControl counts the control characters in p.
func countControl(p []byte) int {
	n := 0
	for ; len(p) >= wordOctets; p = p[wordOctets:] {
		x := binary.LittleEndian.Uint64(p)
		low := x &^ highBits
		// No addition carries into the next octet, so that each bit counts: the
		// high bit of printable is set from 0x20 on, that of other but for DEL.
		printable := low + (0x80-' ')*lowBits
		other := (low ^ 0x7f*lowBits) + 0x7f*lowBits
		n += bits.OnesCount64(^(printable & other) &^ x & highBits)
	}
	for _, c := range p {
		if c < ' ' || c == 0x7f {
			n++
		}
	}
	return n
}

// asIs reports whether the text may be sent without an encoding that hides its
// octets: lines that SMTP carries (RFC 5321 §4.5.3.1.6), no control
// characters, and no line that a mailbox file would change. Lines between 78
// and 998 octets stay: paragraphs in one line are common, and readers wrap
// them.
func (f *textFacts) asIs() bool {
	return f.longest <= hardLine && !f.control && !f.from
}

// readable is how many octets longer quoted-printable may be than base64 and
// still be chosen: people read it in a message's source, and some filters
// think ill of short texts in base64.
const readable = 256

// choose gives the encoding for the text: none where it needs none, else the
// shorter of quoted-printable and base64, and the former if it hardly matters.
func (f *textFacts) choose(eightBit bool) transferEncoding {
	switch {
	case f.asIs() && f.high == 0:
		return encoding7Bit
	case f.asIs() && eightBit:
		return encoding8Bit
	}
	octets := f.octets + f.breaks - f.pairs
	quoted := octets + 2*(f.high+f.equals)
	quoted += quoted / qpLine * 3
	if quoted > base64Size(octets)+readable {
		return encodingBase64Text
	}
	return encodingQuoted
}

// octets gives the octets of s without a copy. They must not be written to.
func octets(s string) []byte {
	return unsafe.Slice(unsafe.StringData(s), len(s))
}
