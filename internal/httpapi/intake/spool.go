package intake

import (
	"bytes"
	"errors"
	"io"
	"os"

	"github.com/postrider/postrider/mail"
)

// Spool holds the contents of one request one after the other: in memory up to a limit, then all of them in one
// temporary file. It is for one goroutine; what Piece gives may be opened by several once writing has ended.
type Spool struct {
	dir    string
	limit  int
	memory []byte
	file   *os.File
	out    []byte // to be written to file: a text comes in many small pieces
	named  bool   // the file still has a name, which Close removes
	size   int64
	start  int64 // where the piece in work begins

	inMemory, onDisk lease
}

// NewSpool gives an empty spool. dir is where its file would be made ("": the system's directory), memory how
// many octets it holds without one.
func NewSpool(dir string, memory int) *Spool { return &Spool{dir: dir, limit: memory} }

// errClosed is the error of contents that are read after their request has ended.
var errClosed = errors.New("content of a request that has ended")

// Write appends to the piece in work. Its error is an [*Error] of kind NoSpace.
func (s *Spool) Write(p []byte) (int, error) {
	if s.file == nil {
		// Where the requests together hold too much in memory, this one goes on on the disk.
		if len(s.memory)+len(p) <= s.limit && s.inMemory.reach(s.size+int64(len(p))) {
			s.memory = append(s.memory, p...)
			s.size += int64(len(p))
			return len(p), nil
		}
		if err := s.spill(); err != nil {
			return 0, noSpace(err)
		}
	}
	if !s.onDisk.reach(s.size + int64(len(p))) {
		return 0, noSpace(errBusy)
	}
	if len(s.out)+len(p) > cap(s.out) {
		if err := s.flush(); err != nil {
			return 0, err
		}
	}
	s.size += int64(len(p))
	if len(p) < cap(s.out) {
		s.out = append(s.out, p...)
		return len(p), nil
	}
	if n, err := s.file.Write(p); err != nil {
		return n, noSpace(err)
	}
	return len(p), nil
}

// flush writes what is held back to the file.
func (s *Spool) flush() error {
	if len(s.out) == 0 {
		return nil
	}
	_, err := s.file.Write(s.out)
	s.out = s.out[:0]
	if err != nil {
		return noSpace(err)
	}
	return nil
}

// noSpace wraps an error of the temporary file. Its text may hold the directory's name: that is for the log, in
// Err, and not for the caller.
func noSpace(err error) *Error {
	return &Error{Kind: NoSpace, Detail: "the service has no room for the content at the moment; try again later", Err: err}
}

// spill moves what is in memory to a file.
func (s *Spool) spill() error {
	file, err := os.CreateTemp(s.dir, "postrider-upload-*")
	if err != nil {
		return err
	}
	s.file = file
	// A file without a name is freed by the system when the process ends, however it ends.
	s.named = os.Remove(file.Name()) != nil
	if _, err := file.Write(s.memory); err != nil {
		return err
	}
	s.memory, s.out = nil, make([]byte, 0, bufferOctets)
	s.inMemory.free()
	return nil
}

// Piece ends the piece in work and gives it: an opener that can be used any number of times until Close, and
// the number of octets. Its error is an [*Error] of kind NoSpace.
func (s *Spool) Piece() (mail.Opener, int64, error) {
	if err := s.flush(); err != nil {
		return nil, 0, err
	}
	start, n := s.start, s.size-s.start
	s.start = s.size
	return func() (io.ReadCloser, error) {
		switch {
		case s.file != nil:
			return io.NopCloser(io.NewSectionReader(s.file, start, n)), nil
		case start+n > int64(len(s.memory)):
			return nil, errClosed
		}
		return memoryReader{bytes.NewReader(s.memory[start : start+n])}, nil
	}, n, nil
}

// memoryReader keeps WriteTo, which io.NopCloser would keep too, without its wrapping of each call.
type memoryReader struct{ *bytes.Reader }

// Close does nothing.
func (memoryReader) Close() error { return nil }

// Close frees memory and file. It may be called more than once.
func (s *Spool) Close() error {
	s.memory, s.out, s.size, s.start = nil, nil, 0, 0
	s.inMemory.free()
	if s.file == nil {
		return nil
	}
	defer s.onDisk.free()
	file := s.file
	s.file = nil
	err := file.Close()
	if s.named {
		err = errors.Join(err, os.Remove(file.Name()))
	}
	return err
}

// OnDisk reports whether the contents have outgrown memory.
func (s *Spool) OnDisk() bool { return s.file != nil }
