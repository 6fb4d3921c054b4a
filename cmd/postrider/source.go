package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/postrider/postrider/mail"
)

// fileFault turns a file that cannot be read into a fault of the message's
// field. What is no matter of the message comes back as err.
func fileFault(field string, cause error) (f mail.Fault, err error) {
	if _, ok := errors.AsType[*exitError](cause); ok {
		return f, cause
	}
	if f, ok := errors.AsType[mail.Fault](cause); ok {
		f.Field = field
		return f, nil
	}
	f = mail.Fault{Field: field, Code: mail.CodeUnreadable, Detail: cause.Error(), Err: cause}
	if pe, ok := errors.AsType[*fs.PathError](cause); ok {
		f.Detail = fmt.Sprintf("%s cannot be read: %v", pe.Path, pe.Err)
	}
	return f, nil
}

// smallFile bounds files that must fit in memory: keys, certificates, invitations.
const smallFile = 1 << 20

func readSmallFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, smallFile+1))
	if err == nil && len(b) > smallFile {
		err = fmt.Errorf("%s is larger than 1 MiB", path)
	}
	return b, err
}

// messageSource opens what flags name: files, and standard input, which is
// copied to a temporary file since content is read more than once.
type messageSource struct {
	ctx   context.Context // of the command: ends waiting for standard input
	stdin io.Reader
	spool *os.File
	taken string // the flag that standard input went to
}

func (s *messageSource) open(flag, path, charset string) (mail.Opener, error) {
	name := path
	if path == "-" {
		if s.taken != "" {
			return nil, usagef("%s -: standard input goes to %s already", flag, s.taken)
		}
		s.taken = flag
		if err := s.takeStdin(); err != nil {
			return nil, err
		}
		name = s.spool.Name()
	} else if info, err := os.Stat(path); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file; give '-' to read standard input", path)
	}
	if charset == "" {
		return func() (io.ReadCloser, error) { return os.Open(name) }, nil
	}
	if _, err := mail.ToUTF8(charset, strings.NewReader("")); err != nil {
		return nil, usagef("--charset: %w", err)
	}
	return func() (io.ReadCloser, error) {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		r, err := mail.ToUTF8(charset, f)
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		return readCloser{r, f}, nil
	}, nil
}

// takeStdin spools standard input, until the context ends: reading a terminal
// cannot be interrupted, but need not be waited for.
func (s *messageSource) takeStdin() error {
	f, err := os.CreateTemp("", "postrider-*")
	if err != nil {
		return &exitError{exitSoftware, fmt.Errorf("standard input cannot be kept: %w; TMPDIR names another folder", err)}
	}
	s.spool = f
	copied := make(chan error, 1)
	go func() {
		_, err := io.Copy(f, s.stdin)
		copied <- err
	}()
	select {
	case err := <-copied:
		if e, ok := errors.AsType[*fs.PathError](err); ok && e.Op == "write" {
			return &exitError{exitSoftware, fmt.Errorf("standard input cannot be kept: %w; TMPDIR names another folder", err)}
		}
		if err != nil {
			return &exitError{exitSoftware, fmt.Errorf("standard input: %w", err)}
		}
		return nil
	case <-s.ctx.Done():
		return errInterrupted(s.ctx)
	}
}

// errInterrupted says that a command ended before it had sent anything.
func errInterrupted(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &exitError{exitTemporary, errors.New("the time that --timeout gives is over; nothing was sent")}
	}
	return &exitError{exitTemporary, errors.New("interrupted; nothing was sent")}
}

// close removes the copy of standard input.
func (s *messageSource) close() {
	if s.spool != nil {
		_ = s.spool.Close()
		_ = os.Remove(s.spool.Name())
	}
}

type readCloser struct {
	io.Reader
	io.Closer
}
