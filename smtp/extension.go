package smtp

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// extensions are what the server offered after EHLO (RFC 5321 §4.1.1.1). The
// ones that each transaction asks for are looked up once.
type extensions struct {
	keywords map[string]string

	pipelining, chunking, eightBit, utf8, dsn, requireTLS, size bool
	maxSize                                                     int64 // 0: not said
}

// offer is what a server said to EHLO, and what that means.
type offer struct {
	lines []string
	ext   extensions
}

// offered gives the meaning of a reply to EHLO. Connections of one Dialer hear
// the same each time and share it: nothing in it changes.
func (c *Conn) offered(lines []string) extensions {
	last := &c.d.offers[0]
	if c.tls != nil {
		last = &c.d.offers[1]
	}
	if o := last.Load(); o != nil && slices.Equal(o.lines, lines) {
		return o.ext
	}
	o := &offer{lines: lines, ext: parseEHLO(lines)}
	last.Store(o)
	return o.ext
}

// parseEHLO reads the lines of the reply; the first is the server's name.
func parseEHLO(lines []string) extensions {
	e := extensions{keywords: make(map[string]string, len(lines))}
	for _, l := range lines[min(1, len(lines)):] {
		word, params, _ := strings.Cut(strings.TrimSpace(l), " ")
		word, params = strings.ToUpper(word), strings.TrimSpace(params)
		// "AUTH=LOGIN" is how servers said it before RFC 2554, beside the
		// modern line or instead of it.
		if old, ok := strings.CutPrefix(word, "AUTH="); ok {
			word, params = "AUTH", strings.TrimSpace(old+" "+params)
		}
		if word == "" {
			continue
		}
		if word == "AUTH" {
			params = strings.TrimSpace(e.keywords["AUTH"] + " " + params)
		}
		e.keywords[word] = params
	}
	for word, flag := range map[string]*bool{
		"PIPELINING": &e.pipelining, "CHUNKING": &e.chunking, "8BITMIME": &e.eightBit,
		"SMTPUTF8": &e.utf8, "DSN": &e.dsn, "REQUIRETLS": &e.requireTLS, "SIZE": &e.size,
	} {
		_, *flag = e.keywords[word]
	}
	// RFC 1870 §3: no number or 0 means no fixed limit.
	first, _, _ := strings.Cut(e.keywords["SIZE"], " ")
	if n, err := strconv.ParseInt(first, 10, 64); err == nil && n > 0 {
		e.maxSize = n
	}
	return e
}

func (e *extensions) lookup(keyword string) (string, bool) {
	p, ok := e.keywords[strings.ToUpper(keyword)]
	return p, ok
}

func (e *extensions) all() map[string]string {
	if e.keywords == nil {
		return map[string]string{}
	}
	return maps.Clone(e.keywords)
}

// mechanisms are the SASL mechanisms offered.
func (e *extensions) mechanisms() []string { return strings.Fields(e.keywords["AUTH"]) }
