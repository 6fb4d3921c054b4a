package intake

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/postrider/postrider/internal/submission"
	"github.com/postrider/postrider/mail"
)

// once tells whether a member of a small object comes for the first time, else notes the fault and reads over it.
func (r *reading) once(seen *uint, bit uint) (first bool, err error) {
	if *seen&(1<<bit) != 0 {
		r.duplicate()
		return false, r.scan.skip()
	}
	*seen |= 1 << bit
	null, err := r.null()
	return err == nil && !null, err
}

// textInto reads a string into dst.
func (r *reading) textInto(dst *string, limit int) error {
	value, ok, err := r.string(limit)
	if ok {
		*dst = value
	}
	return err
}

// headers reads the caller's own header fields: an object of names and values, where a value may be an array, or
// an array of objects with name and value.
func (r *reading) headers() error {
	c, err := r.scan.peek()
	if err != nil {
		return err
	}
	l, m := &r.decoder.limits, &r.message.Message
	switch c {
	case '[':
		return r.array(l.HeaderFields, func(int) error {
			var f mail.Field
			var seen uint
			err := r.object(func(name string) (bool, error) {
				bit := uint(0)
				switch name {
				case "name":
				case "value":
					bit = 1
				default:
					return false, nil
				}
				first, err := r.once(&seen, bit)
				if err != nil || !first {
					return true, err
				}
				if bit == 0 {
					return true, r.textInto(&f.Name, maxNameOctets)
				}
				return true, r.textInto(&f.Value, l.FieldOctets)
			})
			m.Header = append(m.Header, f)
			return err
		})
	case '{':
		r.out.headerObject = true
		names := make(map[string]bool)
		return r.object(func(name string) (bool, error) { return true, r.headerMember(names, name) })
	}
	return r.wrongType(c, "an object or an array of objects")
}

// headerMember reads one member of headers where that is an object.
func (r *reading) headerMember(names map[string]bool, name string) error {
	l, m := &r.decoder.limits, &r.message.Message
	switch {
	case names[name]:
		r.duplicate()
		return r.scan.skip()
	case len(m.Header) > l.HeaderFields:
		return r.scan.skip() // mail reports that there are too many
	}
	names[name] = true
	one := func(int) error {
		value, ok, err := r.string(l.FieldOctets)
		if ok {
			m.Header = append(m.Header, mail.Field{Name: name, Value: value})
		}
		return err
	}
	c, err := r.scan.peek()
	switch {
	case err != nil:
		return err
	case c == '"':
		return one(0)
	case c == '[':
		return r.array(l.HeaderFields, one)
	case c == 'n':
		return r.scan.word("null")
	}
	return r.wrongType(c, "a string or an array of strings")
}

// calendar reads an invitation.
func (r *reading) calendar() error {
	var c mail.Calendar
	var data string
	var seen uint
	err := r.object(func(name string) (bool, error) {
		var dst *string
		limit, bit := maxWord, uint(0)
		switch name {
		case "method":
			dst = &c.Method
		case "data":
			dst, limit, bit = &data, maxCalendarOctets, 1
		case "filename":
			dst, bit = &c.Filename, 2
		default:
			return false, nil
		}
		first, err := r.once(&seen, bit)
		if err != nil || !first {
			return true, err
		}
		return true, r.textInto(dst, limit)
	})
	c.Data = []byte(data)
	r.message.Message.Calendar = &c
	return err
}

// dsn reads a request for delivery status notifications.
func (r *reading) dsn() error {
	var d mail.DSN
	var seen uint
	const words = 4 // NEVER, SUCCESS, FAILURE, DELAY
	err := r.object(func(name string) (bool, error) {
		switch name {
		case "notify":
			first, err := r.once(&seen, 0)
			if err != nil || !first {
				return true, err
			}
			return true, r.array(words, func(int) error {
				value, ok, err := r.string(maxWord)
				if ok {
					d.Notify = append(d.Notify, strings.ToUpper(value))
				}
				return err
			})
		case "return":
			first, err := r.once(&seen, 1)
			if err != nil || !first {
				return true, err
			}
			return true, r.textInto(&d.Return, maxWord)
		case "envelope_id":
			first, err := r.once(&seen, 2)
			if err != nil || !first {
				return true, err
			}
			return true, r.textInto(&d.EnvelopeID, maxWord)
		}
		return false, nil
	})
	d.Return = strings.ToUpper(d.Return)
	r.message.Message.DSN = &d
	return err
}

// relay reads a relay that comes with the message.
func (r *reading) relay() error {
	var relay submission.InlineRelay
	var password string
	var seen uint
	texts := map[string]struct {
		dst   *string
		limit int
		bit   uint
	}{
		"host": {&relay.Host, maxWord, 0}, "tls": {&relay.TLS, maxWord, 1}, "username": {&relay.Username, maxWord, 2},
		"password": {&password, maxPasswordOctets, 3}, "helo": {&relay.HELO, maxWord, 4}, "ca_cert": {&relay.CACert, maxCertOctets, 5},
	}
	const portBit = 6
	err := r.object(func(name string) (bool, error) {
		if name == "port" {
			first, err := r.once(&seen, portBit)
			if err != nil || !first {
				return true, err
			}
			return true, r.port(&relay.Port)
		}
		t, known := texts[name]
		if !known {
			return false, nil
		}
		first, err := r.once(&seen, t.bit)
		if err != nil || !first {
			return true, err
		}
		return true, r.textInto(t.dst, t.limit)
	})
	relay.Password = submission.Secret(password)
	r.message.Relay = &relay
	return err
}

const (
	// maxPasswordOctets bounds a relay's password: access tokens are the longest.
	maxPasswordOctets = 8 << 10
	// maxCertOctets bounds a certificate as PEM.
	maxCertOctets = 64 << 10
)

// port reads a port number.
func (r *reading) port(dst *int) error {
	c, err := r.scan.peek()
	if err != nil {
		return err
	}
	if c != '-' && (c < '0' || c > '9') {
		return r.wrongType(c, "a number from 1 to 65535")
	}
	text, err := r.scan.number()
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(string(text))
	if err != nil || n < 1 || n > 65535 {
		r.fault(mail.CodeInvalidValue, "port %s is not a number from 1 to 65535", show(string(text)))
		return nil
	}
	*dst = n
	return nil
}

// metadata reads an object of the caller's own and keeps it in one spelling, so that the same metadata is the
// same text.
func (r *reading) metadata() error {
	if ok, err := r.want('{', "an object"); err != nil || !ok {
		return err
	}
	t := tree{r: r, end: r.scan.offset() + MaxMetadataOctets}
	value, err := t.value()
	switch {
	case err != nil:
		return err
	case t.over:
		r.fault(mail.CodeTooLarge, "metadata has more than %d octets", MaxMetadataOctets)
		return nil
	}
	text, err := json.Marshal(value)
	if err != nil {
		return malformed("metadata cannot be kept: %v", err)
	}
	r.message.Metadata = text
	return nil
}

// tree reads values of any kind into memory, up to a place in the input.
type tree struct {
	r    *reading
	end  int64
	over bool // the place was passed: what is given is not whole
}

// value reads one value.
func (t *tree) value() (any, error) {
	r := t.r
	c, err := r.scan.peek()
	if err != nil {
		return nil, err
	}
	if t.over = t.over || r.scan.offset() >= t.end; t.over {
		return nil, r.scan.skip()
	}
	switch c {
	case '{':
		members := make(map[string]any)
		return members, r.object(func(name string) (bool, error) {
			if _, twice := members[name]; twice {
				r.duplicate()
				return true, r.scan.skip()
			}
			if strings.ContainsRune(name, 0) {
				r.fault(mail.CodeControlCharacter, "name has a NUL character; remove it")
			}
			v, err := t.value()
			members[name] = v
			return true, err
		})
	case '[':
		list := []any{}
		return list, r.array(MaxMetadataOctets, func(int) error {
			v, err := t.value()
			list = append(list, v)
			return err
		})
	case '"':
		s, _, err := r.string(MaxMetadataOctets)
		if strings.ContainsRune(s, 0) { // a text that PostgreSQL does not take
			r.fault(mail.CodeControlCharacter, "text has a NUL character; remove it")
		}
		return s, err
	case 't', 'f':
		v, _, err := r.bool()
		return v, err
	case 'n':
		return nil, r.scan.word("null")
	}
	if c != '-' && (c < '0' || c > '9') {
		return nil, r.scan.skip() // which says what is wrong
	}
	text, err := r.scan.number()
	if err == nil && !isModest(string(text)) {
		r.fault(mail.CodeInvalidValue, "number %s is too large or too small to be kept", show(string(text)))
	}
	return json.Number(text), err
}

// isModest tells whether a number is one that a database can keep too: a float64, neither overflowing nor so small
// that it would become nothing.
func isModest(text string) bool {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return false
	}
	mantissa, _, _ := strings.Cut(strings.ToLower(text), "e")
	return f != 0 || !strings.ContainsAny(mantissa, "123456789")
}
