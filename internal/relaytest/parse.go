package relaytest

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

//go:embed parse.py
var parseScript string

// Parsed is a message as Python's email package reads it, policy "default",
// header fields in UTF-8 (RFC 6532) included. Absent fields are zero.
type Parsed struct {
	Subject   string // decoded (RFC 2047)
	From      []ParsedMailbox
	Sender    []ParsedMailbox
	ReplyTo   []ParsedMailbox
	To        []ParsedMailbox
	Cc        []ParsedMailbox
	Bcc       []ParsedMailbox
	Date      string // as in RFC 3339, offset kept; empty if absent or unreadable
	MessageID string // with its angle brackets
	Fields    []ParsedField
	Root      *ParsedPart
	// Defects are all faults found, in the message and in each of its parts.
	// Empty means that Python read it without complaint.
	Defects []string
}

// ParsedMailbox is one mailbox of an address field.
type ParsedMailbox struct {
	Name    string // display name, decoded
	Address string // local-part@domain
	Group   string // display name of the group that holds it, or empty
}

// ParsedField is one header field in its place.
type ParsedField struct {
	Name  string // as written
	Value string // unfolded and decoded
	Raw   string // as written, folds included
}

// ParsedPart is an entity (RFC 2045): the message itself or a body part.
type ParsedPart struct {
	Fields            []ParsedField
	ContentType       string // media type in lower case, text/plain if absent
	Params            map[string]string
	Disposition       string // "attachment", "inline" or empty
	DispositionParams map[string]string
	Filename          string // decoded (RFC 2231)
	ContentID         string // with its angle brackets
	TransferEncoding  string // lower case, empty if absent
	Size              int    // of the decoded body in octets, 0 for a multipart
	SHA256            string // of the decoded body in hexadecimal, empty for a multipart
	Text              string // decoded body of a text part; line ends as stored
	Preamble          string
	Epilogue          string
	Parts             []*ParsedPart // of a multipart, or the one of a message/rfc822
	Defects           []string      // of this entity alone
}

// Field returns the decoded value of the first field with this name, any case,
// and whether there is one.
func (p *Parsed) Field(name string) (string, bool) { return p.Root.Field(name) }

// Field returns the decoded value of the first field with this name, any case,
// and whether there is one.
func (p *ParsedPart) Field(name string) (string, bool) {
	for _, f := range p.Fields {
		if strings.EqualFold(f.Name, name) {
			return f.Value, true
		}
	}
	return "", false
}

// Leaves returns the parts without parts of their own, in order.
func (p *Parsed) Leaves() []*ParsedPart { return p.Root.leaves(nil) }

func (p *ParsedPart) leaves(found []*ParsedPart) []*ParsedPart {
	if len(p.Parts) == 0 {
		return append(found, p)
	}
	for _, part := range p.Parts {
		found = part.leaves(found)
	}
	return found
}

// Shape returns the tree of media types on one line, such as
// "multipart/mixed(text/plain, image/png)".
func (p *Parsed) Shape() string { return p.Root.shape() }

func (p *ParsedPart) shape() string {
	if len(p.Parts) == 0 {
		return p.ContentType
	}
	inner := make([]string, 0, len(p.Parts))
	for _, part := range p.Parts {
		inner = append(inner, part.shape())
	}
	return p.ContentType + "(" + strings.Join(inner, ", ") + ")"
}

// ParseWithPython reads a message with Python's email package. It skips the
// test if there is no python3. A malformed message is not an error: its faults
// stand in Defects.
func ParseWithPython(t testing.TB, raw []byte) *Parsed {
	t.Helper()
	return ParseAllWithPython(t, [][]byte{raw})[0]
}

// ParseAllWithPython is ParseWithPython for many messages with one start of
// Python, which takes longer than reading a small message.
func ParseAllWithPython(t testing.TB, raws [][]byte) []*Parsed {
	t.Helper()
	python := pythonProgram()
	if python == "" {
		unavailable(t, "python3, the independent reader, is not installed")
	}
	parsed, err := runParser(t, python, raws)
	if err != nil {
		t.Fatalf("relaytest: parse with Python: %v", err)
	}
	return parsed
}

func runParser(t testing.TB, python string, raws [][]byte) ([]*Parsed, error) {
	input := make([]io.Reader, 0, 2*len(raws))
	for _, raw := range raws {
		input = append(input, strings.NewReader(fmt.Sprintf("%d\n", len(raw))), bytes.NewReader(raw))
	}
	// Isolated mode: nothing of the user's environment changes the reader.
	cmd := exec.CommandContext(t.Context(), python, "-I", "-S", "-c", parseScript)
	cmd.Stdin = io.MultiReader(input...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, stderr.Bytes())
	}
	parsed := make([]*Parsed, 0, len(raws))
	decoder := json.NewDecoder(&stdout)
	for range raws {
		p := new(Parsed)
		if err := decoder.Decode(p); err != nil {
			return nil, err
		}
		parsed = append(parsed, p)
	}
	return parsed, nil
}

// pythonProgram prefers the system's Python: a version manager's wrapper of the
// same name takes several times as long to start.
func pythonProgram() string {
	const system = "/usr/bin/python3"
	if info, err := os.Stat(system); err == nil && info.Mode().IsRegular() {
		return system
	}
	file, err := exec.LookPath("python3")
	if err != nil {
		return ""
	}
	return file
}
