package intake

import (
	"errors"
	"io"
	"unicode/utf8"
)

const (
	// bufferOctets is how much of a body is read at once. It is also the most that a piece of a string has.
	bufferOctets = 32 << 10
	// maxDepth bounds how deep objects and arrays may stand in one another; ours need five.
	maxDepth = 32
	// maxNumberOctets bounds the text of one number: none of ours needs more than a port's.
	maxNumberOctets = 256
	// maxNameOctets bounds the name of an object's member: names of header fields are the longest that are of use.
	maxNameOctets = 1 << 10
)

// scanner reads JSON (RFC 8259) piece by piece. Its errors are [*Error] and final: after one, the rest of the
// input has no meaning.
type scanner struct {
	r        io.Reader
	buf      []byte
	pos, end int
	base     int64 // where buf[0] stands in the input
	ended    bool  // r has no more
	depth    int
	scratch  []byte            // the text of the number or name read last
	char     [utf8.UTFMax]byte // what an escape stands for; here, because a sink would move it to the heap
	badText  string            // what is wrong with the text of the string read last; empty: nothing
}

// reset begins another input. The buffer stays.
func (s *scanner) reset(r io.Reader) {
	if s.buf == nil {
		s.buf = make([]byte, bufferOctets)
	}
	*s = scanner{r: r, buf: s.buf, scratch: s.scratch[:0]}
}

// offset is where the scanner stands in the input.
func (s *scanner) offset() int64 { return s.base + int64(s.pos) }

// fill reads more behind what is not used yet. When there is no more, it sets ended.
func (s *scanner) fill() error {
	if s.pos > 0 {
		s.base += int64(s.pos)
		s.end = copy(s.buf, s.buf[s.pos:s.end])
		s.pos = 0
	}
	const patience = 100 // empty reads in a row, as bufio allows
	for range patience {
		n, err := s.r.Read(s.buf[s.end:])
		s.end += n
		switch {
		case err == io.EOF:
			s.ended = true
			return nil
		case err != nil:
			return readError(err)
		case n > 0:
			return nil
		}
	}
	return readError(io.ErrNoProgress)
}

// readError sorts an error of the body's reader.
func readError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Kind: Interrupted, Detail: "the body could not be read to its end", Err: err}
}

// syntax is the error for a body that is not JSON from here on.
func (s *scanner) syntax(format string, args ...any) *Error {
	e := malformed(format, args...)
	e.Detail += at(s.offset())
	return e
}

// peek gives the next octet that is not white space, without taking it; 0 at the end.
func (s *scanner) peek() (byte, error) {
	for {
		for s.pos < s.end {
			switch c := s.buf[s.pos]; c {
			case ' ', '\t', '\r', '\n':
				s.pos++
			case 0:
				return 0, s.syntax("the body has a NUL octet where JSON is expected")
			default:
				return c, nil
			}
		}
		if s.ended {
			return 0, nil
		}
		if err := s.fill(); err != nil {
			return 0, err
		}
	}
}

// next takes the next octet, whatever it is; ok is false at the end.
func (s *scanner) next() (c byte, ok bool, err error) {
	for s.pos == s.end {
		if s.ended {
			return 0, false, nil
		}
		if err := s.fill(); err != nil {
			return 0, false, err
		}
	}
	c = s.buf[s.pos]
	s.pos++
	return c, true, nil
}

// expect takes one octet after white space.
func (s *scanner) expect(want byte, where string) error {
	c, err := s.peek()
	switch {
	case err != nil:
		return err
	case c == 0:
		return s.cutOff()
	case c != want:
		return s.syntax("%q stands where %q is expected %s", c, want, where)
	}
	s.pos++
	return nil
}

// cutOff is the error for a body that ends too early.
func (s *scanner) cutOff() *Error {
	return s.syntax("the body ends in the middle of the JSON")
}

// finish makes sure that nothing follows the value.
func (s *scanner) finish() error {
	c, err := s.peek()
	if err == nil && c != 0 {
		err = s.syntax("%q follows the end of the JSON", c)
	}
	return err
}

// enter goes into an object or array, whose first octet is next.
func (s *scanner) enter() error {
	s.pos++
	s.depth++
	if s.depth > maxDepth {
		return s.syntax("the JSON is more than %d levels deep", maxDepth)
	}
	return nil
}

// member goes to the next member of an object (closing is '}') or array (']'), past its comma; more is false if
// it was the last. first tells whether it is the first.
func (s *scanner) member(closing byte, first bool) (more bool, err error) {
	c, err := s.peek()
	switch {
	case err != nil:
		return false, err
	case c == 0:
		return false, s.cutOff()
	case c == closing:
		s.pos++
		s.depth--
		return false, nil
	case first:
		return true, nil
	case c != ',':
		return false, s.syntax("%q stands where a comma or %q is expected", c, closing)
	}
	s.pos++
	if c, err = s.peek(); err == nil && c == closing {
		err = s.syntax("a comma stands before %q", closing)
	}
	return err == nil, err
}

// name reads the name of an object's member and its colon.
func (s *scanner) name() (string, error) {
	c, err := s.peek()
	switch {
	case err != nil:
		return "", err
	case c == 0:
		return "", s.cutOff()
	case c != '"':
		return "", s.syntax("%q stands where the name of a field is expected; names are in double quotes", c)
	}
	sink := memorySink{p: s.scratch[:0], limit: maxNameOctets}
	err = s.text(&sink)
	s.scratch = sink.p
	switch {
	case err != nil:
		return "", err
	case s.badText != "":
		return "", s.syntax("the name of a field has %s", s.badText)
	case sink.over:
		return "", s.syntax("the name of a field has more than %d octets", maxNameOctets)
	}
	name := string(sink.p)
	return name, s.expect(':', "after the name of a field")
}

// word takes true, false or null.
func (s *scanner) word(word string) error {
	for i := range len(word) {
		c, ok, err := s.next()
		switch {
		case err != nil:
			return err
		case !ok:
			return s.cutOff()
		case c != word[i]:
			return s.syntax("a word begins like %q and is not", word)
		}
	}
	return nil
}

// number reads a number and gives its text, which holds until the next call.
func (s *scanner) number() ([]byte, error) {
	s.scratch = s.scratch[:0]
	for {
		c, ok, err := s.next()
		if err != nil {
			return nil, err
		}
		if !ok || c != '-' && c != '+' && c != '.' && c != 'e' && c != 'E' && (c < '0' || c > '9') {
			if ok {
				s.pos--
			}
			break
		}
		if len(s.scratch) == maxNumberOctets {
			return nil, s.syntax("a number has more than %d characters", maxNumberOctets)
		}
		s.scratch = append(s.scratch, c)
	}
	if !isNumber(s.scratch) {
		return nil, s.syntax("%s is not a number of JSON", show(string(s.scratch)))
	}
	return s.scratch, nil
}

// isNumber checks the grammar of RFC 8259 §6.
func isNumber(p []byte) bool {
	digits := func() bool {
		n := 0
		for n < len(p) && '0' <= p[n] && p[n] <= '9' {
			n++
		}
		p = p[n:]
		return n > 0
	}
	if len(p) > 0 && p[0] == '-' {
		p = p[1:]
	}
	if len(p) > 0 && p[0] == '0' {
		p = p[1:]
	} else if !digits() {
		return false
	}
	if len(p) > 0 && p[0] == '.' {
		if p = p[1:]; !digits() {
			return false
		}
	}
	if len(p) > 0 && (p[0] == 'e' || p[0] == 'E') {
		if p = p[1:]; len(p) > 0 && (p[0] == '-' || p[0] == '+') {
			p = p[1:]
		}
		if !digits() {
			return false
		}
	}
	return len(p) == 0
}

// skip reads over one value, of which nothing but its grammar matters.
func (s *scanner) skip() error {
	c, err := s.peek()
	if err != nil {
		return err
	}
	switch {
	case c == 0:
		return s.cutOff()
	case c == '"':
		return s.text(nowhere{})
	case c == '{':
		if err := s.enter(); err != nil {
			return err
		}
		for first := true; ; first = false {
			more, err := s.member('}', first)
			if err != nil || !more {
				return err
			}
			if _, err := s.name(); err != nil {
				return err
			}
			if err := s.skip(); err != nil {
				return err
			}
		}
	case c == '[':
		if err := s.enter(); err != nil {
			return err
		}
		for first := true; ; first = false {
			more, err := s.member(']', first)
			if err != nil || !more {
				return err
			}
			if err := s.skip(); err != nil {
				return err
			}
		}
	case c == 't':
		return s.word("true")
	case c == 'f':
		return s.word("false")
	case c == 'n':
		return s.word("null")
	case c == '-' || '0' <= c && c <= '9':
		_, err := s.number()
		return err
	}
	return s.syntax("%q stands where a value is expected", c)
}
