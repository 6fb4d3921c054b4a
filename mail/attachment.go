package mail

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Attachment is one part of a message beside its bodies.
//
// Make one with [FileAttachment], [BytesAttachment] or [Base64Attachment], or
// fill in Filename, Open and Size for content from elsewhere.
type Attachment struct {
	// Filename is the name shown to the recipient, without a path, at most
	// 255 octets. Empty: the part has none.
	Filename string
	// MediaType is the type of the content, with parameters if it needs any
	// (RFC 2045 §5.1). Empty: by the extension of Filename, else
	// application/octet-stream. multipart types are not allowed.
	MediaType string
	// ContentID, without angle brackets, is the name by which the HTML refers
	// to the part as "cid:…" (RFC 2392). Setting it makes the part a
	// companion of the HTML. It must be unique in the message.
	ContentID string
	// Inline asks for the part to be shown with the text and not as a file
	// (Content-Disposition, RFC 2183 §2.1).
	Inline bool
	// Open gives the content. Required.
	Open Opener
	// Size is the number of octets that Open gives. Below zero: not known;
	// composition then makes one pass to count. A content of another length
	// than Size is an error when it is written.
	Size int64

	bad *Fault // what the constructor found; reported by validation
}

// BytesAttachment attaches content that is in memory. b is not copied and
// must not change until the message is sent.
func BytesAttachment(filename string, b []byte) Attachment {
	return Attachment{
		Filename: filename,
		Size:     int64(len(b)),
		Open:     func() (io.ReadCloser, error) { return bytesReader{bytes.NewReader(b)}, nil },
	}
}

// bytesReader is a bytes.Reader with a Close; it keeps WriteTo.
type bytesReader struct{ *bytes.Reader }

// Close does nothing.
func (bytesReader) Close() error { return nil }

// FileAttachment attaches a regular file under its own name. The file is
// looked at now and opened again for each pass; one whose size or time of
// change differs then, or that grows or shrinks while it is read, is an error
// with CodeUnreadable, so that a recipient never gets half of two versions.
// The error is a [Fault].
func FileAttachment(path string) (Attachment, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Attachment{}, unreadable(path, err)
	}
	if !info.Mode().IsRegular() {
		return Attachment{}, *fault(CodeUnreadable, "attachment %s is not a regular file; give the path of a file", show(path))
	}
	size, changed := info.Size(), info.ModTime()
	return Attachment{
		Filename:  filepath.Base(path),
		MediaType: mediaTypeByName(path),
		Size:      size,
		Open:      func() (io.ReadCloser, error) { return openUnchanged(path, size, changed) },
	}, nil
}

// unreadable is the fault of a file that the system refuses. The cause's own
// text would repeat the path, so only its innermost reason is shown.
func unreadable(path string, err error) Fault {
	reason := err
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		reason = pe.Err
	}
	f := *fault(CodeUnreadable, "attachment %s cannot be read: %v", show(path), reason)
	f.Err = err
	return f
}

// openUnchanged opens a file that must still be the one that was looked at.
func openUnchanged(path string, size int64, changed time.Time) (io.ReadCloser, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	info, err := file.Stat()
	if err == nil && (info.Size() != size || !info.ModTime().Equal(changed)) {
		err = errChanged(path)
	} else if err != nil {
		err = unreadable(path, err)
	}
	if err != nil {
		_ = file.Close() // nothing was written; the first error is the one to report
		return nil, err
	}
	return &fileReader{file: file, path: path, left: size}, nil
}

// errChanged is the fault of a file that is no longer what was attached.
func errChanged(path string) Fault {
	return *fault(CodeUnreadable, "attachment %s has changed since it was attached; attach it again", show(path))
}

// fileReader reads a file of known length and fails where the length differs.
type fileReader struct {
	file *os.File
	path string
	left int64
}

// Read gives the next octets of the file. At the expected end it makes sure
// that nothing was added.
func (r *fileReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := r.file.Read(p)
	r.left -= int64(n)
	switch {
	case r.left < 0, err == io.EOF && r.left > 0:
		return 0, errChanged(r.path)
	case err != nil && err != io.EOF:
		return n, unreadable(r.path, err)
	}
	return n, err
}

// Close closes the file.
func (r *fileReader) Close() error { return r.file.Close() }
