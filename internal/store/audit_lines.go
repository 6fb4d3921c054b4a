package store

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"strconv"
	"time"
)

// checkpointMessage is the message of the log line that carries a checkpoint.
const checkpointMessage = "audit checkpoint"

// maxLogLine bounds a line that is looked at; ours have some 400 octets, and what a collector of logs
// puts around them is small.
const maxLogLine = 64 << 10

// attrs are the attributes of that line.
func (p AuditCheckpoint) attrs() []any {
	return []any{
		slog.Int64("seq", p.Seq), slog.String("hash", hex.EncodeToString(p.Hash)), slog.String("signed_at", p.At.Format(time.RFC3339Nano)),
		slog.String("signature", base64.RawURLEncoding.EncodeToString(p.Signature)),
	}
}

// readCheckpoints calls each for the checkpoints in a log, in its order. Lines without one, cut ones and overlong ones
// are passed over: a log is full of other things. It holds one line.
func readCheckpoints(log io.Reader, each func(AuditCheckpoint) error) error {
	r := bufio.NewReaderSize(log, maxLogLine)
	whole := true // the line did not begin in an earlier piece
	for {
		line, err := r.ReadSlice('\n')
		if whole && !errors.Is(err, bufio.ErrBufferFull) {
			if p, ok := parseCheckpoint(line); ok {
				if err := each(p); err != nil {
					return err
				}
			}
		}
		whole = !errors.Is(err, bufio.ErrBufferFull)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && whole:
			return err
		}
	}
}

// parseCheckpoint reads a line of slog, as JSON or as text, also with something before or behind it.
func parseCheckpoint(line []byte) (AuditCheckpoint, bool) {
	_, rest, ok := bytes.Cut(line, []byte(checkpointMessage))
	if !ok {
		return AuditCheckpoint{}, false
	}
	var p AuditCheckpoint
	var errs [4]error
	p.Seq, errs[0] = strconv.ParseInt(logField(rest, "seq"), 10, 64)
	p.Hash, errs[1] = hex.DecodeString(logField(rest, "hash"))
	p.At, errs[2] = time.Parse(time.RFC3339Nano, logField(rest, "signed_at"))
	p.Signature, errs[3] = base64.RawURLEncoding.DecodeString(logField(rest, "signature"))
	if errors.Join(errs[:]...) != nil || p.Seq < 1 || len(p.Hash) != hashSize || len(p.Signature) == 0 {
		return AuditCheckpoint{}, false
	}
	return p, true
}

// logField returns the value of `name=value`, `name="value"`, `"name":value`, `"name":"value"` and of the
// latter with its quotes escaped, as they are in a line of JSON within JSON; empty if there is none.
func logField(line []byte, name string) string {
	for {
		i := bytes.Index(line, []byte(name))
		if i < 0 {
			return ""
		}
		before := i == 0 || bytes.IndexByte([]byte(` "{,\`), line[i-1]) >= 0
		line = line[i+len(name):]
		value := bytes.TrimLeft(line, `\"`)
		if !before || len(value) == 0 || value[0] != '=' && value[0] != ':' {
			continue
		}
		value = bytes.TrimLeft(value[1:], ` \"`)
		if end := bytes.IndexAny(value, " \\\",}\r\n"); end >= 0 {
			value = value[:end]
		}
		return string(value)
	}
}
