package store

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"
)

// checkpointLine is what the service logs for p.
func checkpointLine(p AuditCheckpoint, handler func(*bytes.Buffer) slog.Handler) string {
	var b bytes.Buffer
	slog.New(handler(&b)).Info(checkpointMessage, p.attrs()...)
	return b.String()
}

func TestCheckpointsAreReadFromAnyLog(t *testing.T) {
	p := AuditCheckpoint{
		Seq: 1007, Hash: bytes.Repeat([]byte{0xab}, hashSize), At: time.Date(2026, 5, 1, 12, 0, 0, 123456000, time.UTC),
		Signature: bytes.Repeat([]byte{0xfe, 0xff}, 35),
	}
	text := checkpointLine(p, func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) })
	asJSON := checkpointLine(p, func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) })
	grouped := checkpointLine(p, func(b *bytes.Buffer) slog.Handler {
		return slog.NewJSONHandler(b, nil).WithAttrs([]slog.Attr{slog.String("node", "a")}).WithGroup("service")
	})
	wrapped, err := json.Marshal(map[string]string{"log": asJSON, "stream": "stderr"})
	if err != nil {
		t.Fatal(err)
	}
	var spaced bytes.Buffer
	if err := json.Compact(&spaced, []byte(asJSON)); err != nil {
		t.Fatal(err)
	}
	indented := strings.ReplaceAll(strings.ReplaceAll(spaced.String(), `":`, `": `), `,"`, `, "`)
	good := map[string]string{
		"text": text, "JSON": asJSON, "a group": grouped, "of systemd": "May 01 12:00:00 host postrider[7]: " + text, "of a container": string(wrapped) + "\n",
		"with spaces": indented, "CRLF": strings.TrimSuffix(text, "\n") + "\r\n", "without an end": strings.TrimSuffix(asJSON, "\n"),
	}
	for name, line := range good {
		got, ok := parseCheckpoint([]byte(line))
		if !ok || !reflect.DeepEqual(got, p) {
			t.Errorf("%s: %s\ngives %+v, %v", name, line, got, ok)
		}
	}
	for name, line := range map[string]string{
		"another message": strings.Replace(text, "checkpoint", "entry", 1),
		"cut":             text[:len(text)-100],
		"a short hash":    strings.Replace(text, "hash=ab", "hash=", 1),
		"no number":       strings.Replace(text, "seq=1007", "seq=x", 1),
		"number 0":        strings.Replace(text, "seq=1007", "seq=0", 1),
		"no field":        strings.Replace(text, "seq=1007", "subseq=1007", 1),
		"words only":      checkpointMessage,
	} {
		if got, ok := parseCheckpoint([]byte(line)); ok {
			t.Errorf("%s: %s\ngives %+v", name, line, got)
		}
	}

	long := strings.Repeat("x", 3*maxLogLine)
	log := "noise\n" + text + long + text + asJSON + long + "\n" + string(wrapped) + "\n\n" + text[:50] + "\n" + strings.TrimSuffix(text, "\n")
	n := 0
	err = readCheckpoints(strings.NewReader(log), func(got AuditCheckpoint) error {
		if n++; !reflect.DeepEqual(got, p) {
			t.Errorf("got %+v", got)
		}
		return nil
	})
	// The one behind the overlong line belongs to it.
	if err != nil || n != 4 {
		t.Errorf("read %d, %v", n, err)
	}
	stop := fmt.Errorf("stop")
	if err := readCheckpoints(strings.NewReader(log), func(AuditCheckpoint) error { return stop }); err != stop { //nolint:errorlint // the very same
		t.Errorf("got %v", err)
	}
}

func FuzzParseCheckpoint(f *testing.F) {
	p := AuditCheckpoint{Seq: 7, Hash: make([]byte, hashSize), At: time.Unix(0, 0).UTC(), Signature: []byte("s")}
	f.Add(checkpointLine(p, func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) }))
	f.Add(checkpointLine(p, func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) }))
	f.Add(checkpointMessage + " seq=1 hash= signed_at= signature=")
	f.Fuzz(func(t *testing.T, line string) {
		p, ok := parseCheckpoint([]byte(line))
		if !ok {
			return
		}
		again := fmt.Sprintf("%s seq=%d hash=%s signed_at=%s signature=%s", checkpointMessage, p.Seq, hex.EncodeToString(p.Hash),
			p.At.Format(time.RFC3339Nano), base64.RawURLEncoding.EncodeToString(p.Signature))
		if q, ok := parseCheckpoint([]byte(again)); !ok || q.Seq != p.Seq || !bytes.Equal(q.Hash, p.Hash) || !q.At.Equal(p.At) || !bytes.Equal(q.Signature, p.Signature) {
			t.Errorf("%q gives %+v, written again %+v", line, p, q)
		}
	})
}
