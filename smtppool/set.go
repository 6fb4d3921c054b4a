package smtppool

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/postrider/postrider/smtp"
)

// SetConfig says how a Set behaves. The zero value is good.
type SetConfig struct {
	// Pool is the configuration of each pool. Its MaxConns is a cap for each, not for all together.
	Pool Config
	// MaxUnused is how long a pool without connections is kept after its last use. 0: 15 minutes, so that a pause
	// after a refused password is remembered. Negative: for ever.
	MaxUnused time.Duration
}

const defaultMaxUnused = 15 * time.Minute

// Set holds one Pool for each relay and user. Two configurations share a pool only if they have the same host (case
// aside), port, TLS mode and credentials, and the same LocalName, Timeouts, Strict and Dangerously switches, and the
// very same TLSConfig (the pointer: it may hold a client certificate). Credentials with a Token are the same if they
// are the very same value (the pointer), since functions cannot be compared. Dial and Trace are not compared: give
// every configuration of a Set the same ones. Safe for concurrent use.
type Set struct {
	cfg SetConfig
	// secret keys the hashes that tell pools apart, so that a core dump or a log holds nothing to guess passwords from.
	secret [sha256.Size]byte

	mu     sync.Mutex
	pools  map[[sha256.Size]byte]*entry
	swept  time.Time
	closed bool
}

// entry is a pool with its configuration, which keeps alive the pointers that went into the key: another value could
// otherwise come to lie at the same address.
type entry struct {
	pool *Pool
	cfg  smtp.Config
}

// NewSet checks the configuration, reporting all faults joined, and makes an empty Set. End it with Close.
func NewSet(cfg SetConfig) (*Set, error) {
	if err := cfg.Pool.Validate(); err != nil {
		return nil, err
	}
	if cfg.MaxUnused == 0 {
		cfg.MaxUnused = defaultMaxUnused
	}
	s := &Set{cfg: cfg, pools: map[[sha256.Size]byte]*entry{}, swept: time.Now()}
	// crypto/rand.Read never returns an error.
	_, _ = rand.Read(s.secret[:])
	return s, nil
}

var errAuthFunc = errors.New("smtppool: smtp.Config.AuthFunc does not say whose sessions they are: give the Set Auth, or make a Pool with New")

// Pool returns the pool of the relay and user that cfg names, making it if need be. Errors: ErrClosed, an AuthFunc
// (functions cannot be compared), and the faults that smtp.NewDialer finds. Ask for each message anew: a pool that lies unused is dropped, and then refuses
// with ErrClosed whoever still holds it.
func (s *Set) Pool(cfg smtp.Config) (*Pool, error) {
	if cfg.AuthFunc != nil {
		return nil, errAuthFunc
	}
	key := s.key(&cfg)
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	s.sweep(now)
	if e := s.pools[key]; e != nil {
		e.pool.touch(now)
		return e.pool, nil
	}
	dialer, err := smtp.NewDialer(cfg)
	if err != nil {
		return nil, err
	}
	pool, err := New(dialer, s.cfg.Pool)
	if err != nil {
		return nil, err
	}
	s.pools[key] = &entry{pool: pool, cfg: cfg}
	return pool, nil
}

// touch counts as a use, so that the pool is not dropped before the caller borrows from it.
func (p *Pool) touch(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lastUsed = now
}

// sweep drops pools that were unused for long. They hold no connection and no goroutine, so that it suffices to look
// now and then, when somebody asks for a pool.
func (s *Set) sweep(now time.Time) {
	if s.cfg.MaxUnused < 0 || now.Sub(s.swept) < s.cfg.MaxUnused/4 {
		return
	}
	s.swept = now
	for key, e := range s.pools {
		if e.pool.closeIfUnused(now.Add(-s.cfg.MaxUnused), now) {
			delete(s.pools, key)
		}
	}
}

// Len is the number of pools.
func (s *Set) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.pools)
}

// Stats is the sum over the pools that exist now.
func (s *Set) Stats() Stats {
	sum := Stats{Closed: map[Reason]int64{}}
	for _, e := range s.entries() {
		sum = sum.add(e.pool.Stats())
	}
	return sum
}

func (s *Set) entries() []*entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*entry, 0, len(s.pools))
	for _, e := range s.pools {
		list = append(list, e)
	}
	return list
}

// Close closes every pool at once, as Pool.Close does, and joins their errors. After it Pool returns ErrClosed.
func (s *Set) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	entries := s.entries()
	errs := make([]error, len(entries))
	var group sync.WaitGroup
	for i, e := range entries {
		group.Go(func() { errs[i] = e.pool.Close(ctx) })
	}
	group.Wait()
	return errors.Join(errs...)
}

// key is a keyed hash over everything that tells two sessions apart. Each field goes in with its length, so that no
// two lists of fields give the same octets.
func (s *Set) key(cfg *smtp.Config) [sha256.Size]byte {
	mac := hmac.New(sha256.New, s.secret[:])
	add := func(field string) {
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(len(field)))
		mac.Write(size[:])
		mac.Write([]byte(field))
	}
	mode := cfg.TLSMode
	if mode == "" {
		mode = smtp.TLSStartTLS
	}
	port := cfg.Port
	if port == 0 {
		port = mode.DefaultPort()
	}
	add(strings.ToLower(cfg.Host))
	add(string(mode))
	add(cfg.LocalName)
	add(fmt.Sprintf("%d %p %+v %t %t %t", port, cfg.TLSConfig, cfg.Timeouts,
		cfg.Strict, cfg.DangerouslyAllowPlaintextAuth, cfg.DangerouslySkipTLSVerify))
	if c := cfg.Auth; c != nil {
		add(c.Username)
		add(c.Password)
		add(c.Identity)
		add(c.Host)
		add(fmt.Sprint(c.Port))
		if c.Token != nil {
			add(fmt.Sprintf("%p", c))
		}
		for _, mechanism := range c.Mechanisms {
			add(strings.ToUpper(mechanism))
		}
	}
	var key [sha256.Size]byte
	mac.Sum(key[:0])
	return key
}
