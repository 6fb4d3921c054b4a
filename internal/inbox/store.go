package inbox

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/postrider/postrider/smtp/smtptest"
)

// Message is one message that arrived.
type Message struct {
	ID         int       `json:"id"`
	ReceivedAt time.Time `json:"received_at"`
	MailFrom   string    `json:"mail_from"`
	RcptTo     []string  `json:"rcpt_to"`
	Size       int64     `json:"size"`
	SHA256     string    `json:"sha256"`
	TLS        bool      `json:"tls"`
	User       string    `json:"user,omitempty"`
	Subject    string    `json:"subject"`
	From       string    `json:"from"`
	To         string    `json:"to"`
	MessageID  string    `json:"message_id"`
}

// Store keeps the newest messages in a folder. It is safe for concurrent use.
type Store struct {
	folder   string
	keep     int
	onArrive func(Message)

	mu       sync.Mutex
	last     int
	messages []Message // oldest first
}

// NewStore makes a store in a new temporary folder that keeps the newest keep
// messages. onArrive is told each message before its sender gets the reply; it
// may be nil.
func NewStore(keep int, onArrive func(Message)) (*Store, error) {
	folder, err := os.MkdirTemp("", "postrider-inbox-*")
	if err != nil {
		return nil, err
	}
	return &Store{folder: folder, keep: max(keep, 1), onArrive: onArrive}, nil
}

// Close removes the folder and what is in it.
func (s *Store) Close() error { return os.RemoveAll(s.folder) }

// Receive opens a file for a message's content; it is smtptest.Config.Content.
func (s *Store) Receive(session *smtptest.Session, e smtptest.Envelope) (io.WriteCloser, error) {
	f, err := os.CreateTemp(s.folder, "arriving-*")
	if err != nil {
		return nil, err
	}
	m := Message{MailFrom: e.MailFrom.Address, RcptTo: e.Recipients()}
	_, m.TLS = session.TLS()
	m.User, _ = session.User()
	return &arrival{store: s, file: f, hash: sha256.New(), message: m}, nil
}

// arrival is a message whose content is coming in.
type arrival struct {
	store   *Store
	file    *os.File
	hash    hash.Hash
	message Message
}

func (a *arrival) Write(p []byte) (int, error) {
	n, err := a.file.Write(p)
	a.hash.Write(p[:n])
	a.message.Size += int64(n)
	return n, err
}

// Close keeps the message: its content is complete.
func (a *arrival) Close() error {
	a.message.SHA256 = hex.EncodeToString(a.hash.Sum(nil))
	a.message.ReceivedAt = time.Now()
	if err := a.file.Close(); err != nil {
		return err
	}
	readHeader(a.file.Name(), &a.message)
	return a.store.add(a.file.Name(), a.message)
}

// CloseWithError forgets the message: its content stayed incomplete.
func (a *arrival) CloseWithError(error) error {
	return errors.Join(a.file.Close(), os.Remove(a.file.Name()))
}

// add keeps a message and tells of it; outside the lock, for who is told may look at the store.
func (s *Store) add(path string, m Message) error {
	m, err := s.keepNewest(path, m)
	if err == nil && s.onArrive != nil {
		s.onArrive(m)
	}
	return err
}

func (s *Store) keepNewest(path string, m Message) (Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	m.ID = s.last
	if err := os.Rename(path, s.path(m.ID)); err != nil {
		return m, err
	}
	s.messages = append(s.messages, m)
	if len(s.messages) > s.keep {
		// A file that cannot be removed only takes room until Close.
		_ = os.Remove(s.path(s.messages[0].ID))
		s.messages = slices.Delete(s.messages, 0, 1)
	}
	return m, nil
}

func (s *Store) path(id int) string { return filepath.Join(s.folder, strconv.Itoa(id)+".eml") }

// List gives the messages kept, newest first.
func (s *Store) List() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := slices.Clone(s.messages)
	slices.Reverse(list)
	return list
}

// ErrNoMessage says that there is no such message, or no longer.
var ErrNoMessage = errors.New("no such message; only the newest are kept")

// Get gives one message.
func (s *Store) Get(id int) (Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.messages {
		if m.ID == id {
			return m, nil
		}
	}
	return Message{}, fmt.Errorf("message %d: %w", id, ErrNoMessage)
}

// Open gives a message's content, octet for octet as it arrived.
func (s *Store) Open(id int) (*os.File, error) {
	if _, err := s.Get(id); err != nil {
		return nil, err
	}
	return os.Open(s.path(id))
}

// Clear forgets all messages.
func (s *Store) Clear() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, m := range s.messages {
		errs = append(errs, os.Remove(s.path(m.ID)))
	}
	s.messages = nil
	return errors.Join(errs...)
}
