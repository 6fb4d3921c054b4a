package auth

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/alexedwards/argon2id"
)

// PasswordConfig configures Passwords. The zero value is good: Argon2id with 64 MiB, one pass and two lanes, which is
// above OWASP's least (46 MiB, one pass) and takes some 45 ms on two cores of 2025.
type PasswordConfig struct {
	// Memory is what one hashing uses, in KiB. 0: 65 536. From 19 456 (19 MiB) to 1 048 576 (1 GiB).
	Memory uint32
	// Iterations is the number of passes. 0: 1; at least 2 with less than 46 MiB. At most 16.
	Iterations uint32
	// Parallelism is the number of lanes. 0: 2. At most 16. It does not follow the number of cores: the hash depends
	// on it.
	Parallelism uint8
	// MaxConcurrent is how many hashings run at a time; others wait, so that a flood of logins takes neither all
	// memory nor all cores. 0: 2.
	MaxConcurrent int
	// MinLength is the least number of characters of a new password. 0: 10. It is not asked of passwords at login.
	MinLength int
}

// maxPassword bounds what is hashed, in octets: long enough for every pass phrase.
const maxPassword = 1024

// What stored hashes may ask for. A row that somebody could write must not make us take 4 GiB.
const (
	maxHashMemory      = 1 << 20 // KiB
	maxHashIterations  = 16
	maxHashParallelism = 16
	saltLength         = 16 // octets: RFC 9106 §3.1
	keyLength          = 32
	owaspMemoryOnePass = 46 << 10
	owaspMemory        = 19 << 10
)

// The ways in which a password is refused.
var (
	// ErrWrongPassword is the one answer to a wrong password and to an unknown user.
	ErrWrongPassword = errors.New("auth: wrong user name or password")
	ErrPasswordShort = errors.New("auth: the password is too short")
	ErrPasswordLong  = errors.New("auth: the password is longer than 1024 octets")
	ErrPasswordText  = errors.New("auth: the password is not valid UTF-8")
	ErrPasswordHash  = errors.New("auth: the stored password hash cannot be read")
)

// Passwords hashes and checks passwords with Argon2id (RFC 9106). It is safe for concurrent use.
type Passwords struct {
	cfg    PasswordConfig
	params argon2id.Params
	dummy  string        // a hash that no password has, as costly as a real one
	slots  chan struct{} // one token for each hashing that may run
}

// NewPasswords checks cfg and reports every fault, joined.
func NewPasswords(cfg PasswordConfig) (*Passwords, error) {
	setDefault(&cfg.Memory, 64<<10)
	setDefault(&cfg.Iterations, 1)
	setDefault(&cfg.Parallelism, 2)
	setDefault(&cfg.MaxConcurrent, 2)
	setDefault(&cfg.MinLength, 10)
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("auth: passwords: "+format, args...))
	}
	if cfg.Memory < owaspMemory || cfg.Memory > maxHashMemory {
		fault("Memory is %d KiB, may be from %d to %d", cfg.Memory, owaspMemory, maxHashMemory)
	}
	if cfg.Iterations == 1 && cfg.Memory < owaspMemoryOnePass {
		fault("with one pass Memory must be at least %d KiB: raise it, or set Iterations to 2", owaspMemoryOnePass)
	}
	if cfg.Iterations > maxHashIterations || cfg.Parallelism > maxHashParallelism {
		fault("Iterations and Parallelism may be at most %d", maxHashIterations)
	}
	if cfg.MaxConcurrent < 1 {
		fault("MaxConcurrent is %d", cfg.MaxConcurrent)
	}
	if cfg.MinLength < 8 || cfg.MinLength > maxPassword/4 {
		fault("MinLength is %d, may be from 8 to %d", cfg.MinLength, maxPassword/4)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	p := &Passwords{
		cfg: cfg,
		params: argon2id.Params{
			Memory: cfg.Memory, Iterations: cfg.Iterations, Parallelism: cfg.Parallelism,
			SaltLength: saltLength, KeyLength: keyLength,
		},
		slots: make(chan struct{}, cfg.MaxConcurrent),
	}
	// A random key instead of a password's: nothing matches it, and it costs no hashing at start.
	var random [saltLength + keyLength]byte
	_, _ = rand.Read(random[:]) // never fails (crypto/rand)
	text := base64.RawStdEncoding
	p.dummy = fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$%s$%s", cfg.Memory, cfg.Iterations, cfg.Parallelism,
		text.EncodeToString(random[:saltLength]), text.EncodeToString(random[saltLength:]))
	return p, nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Check says whether a new password may be used: at least MinLength characters, at most 1024 octets, valid UTF-8.
// It asks for no kinds of characters (NIST SP 800-63B §3.1.1.2). The error wraps one of ErrPassword….
func (p *Passwords) Check(password Secret) error {
	text := password.Reveal()
	switch {
	case len(text) > maxPassword:
		return ErrPasswordLong
	case !utf8.ValidString(text):
		return ErrPasswordText
	case utf8.RuneCountInString(text) < p.cfg.MinLength:
		return fmt.Errorf("%w: it needs at least %d characters", ErrPasswordShort, p.cfg.MinLength)
	}
	return nil
}

// Hash checks a new password and returns what to store: $argon2id$v=19$m=…,t=…,p=…$salt$key. ctx ends the wait for
// a turn; a hashing that has begun is finished.
func (p *Passwords) Hash(ctx context.Context, password Secret) (string, error) {
	if err := p.Check(password); err != nil {
		return "", err
	}
	return p.hash(ctx, password)
}

func (p *Passwords) hash(ctx context.Context, password Secret) (string, error) {
	if err := p.enter(ctx); err != nil {
		return "", err
	}
	defer p.leave()
	return argon2id.CreateHash(password.Reveal(), &p.params)
}

// Login checks a password against the stored hash. For an unknown user call it with an empty hash: it takes the
// same time and returns the same ErrWrongPassword. On success, if the hash was made with other parameters, upgrade
// is called with a new one to be stored; its error is returned, and the password was right all the same. upgrade may
// be nil. A hash that cannot be read takes as long and returns ErrPasswordHash, for the log; tell the caller no
// more than for ErrWrongPassword.
//
// The time is that of the hash's parameters, so users whose hash was made with cheaper ones can be told from
// unknown ones until they have logged in once.
func (p *Passwords) Login(ctx context.Context, hash string, password Secret, upgrade func(ctx context.Context, hash string) error) error {
	stored, known, readable := hash, hash != "", true
	if known {
		readable = readableHash(hash)
	}
	if !known || !readable {
		stored = p.dummy
	}
	matches, err := p.matches(ctx, stored, password)
	switch {
	case err != nil:
		return err
	case !readable:
		return ErrPasswordHash
	case !known || !matches:
		return ErrWrongPassword
	}
	if upgrade == nil || !p.NeedsRehash(hash) {
		return nil
	}
	next, err := p.hash(ctx, password)
	if err != nil {
		return err
	}
	return upgrade(ctx, next)
}

func (p *Passwords) matches(ctx context.Context, hash string, password Secret) (bool, error) {
	text := password.Reveal()
	tooLong := len(text) > maxPassword
	if tooLong { // cut, so that it costs what others do, and refused
		text = text[:maxPassword]
	}
	if err := p.enter(ctx); err != nil {
		return false, err
	}
	defer p.leave()
	ok, err := argon2id.ComparePasswordAndHash(text, hash)
	if err != nil {
		return false, ErrPasswordHash
	}
	return ok && !tooLong, nil
}

// NeedsRehash reports whether a hash was made with parameters other than p's, or cannot be read.
func (p *Passwords) NeedsRehash(hash string) bool {
	params, _, _, err := argon2id.DecodeHash(hash)
	return err != nil || *params != p.params
}

// readableHash reports whether a stored hash is Argon2id with parameters that may be computed: argon2 panics when
// there is no pass or no lane, and takes whatever memory it is told.
func readableHash(hash string) bool {
	params, _, _, err := argon2id.DecodeHash(hash)
	return err == nil &&
		params.Memory >= 8*uint32(params.Parallelism) && params.Memory <= maxHashMemory &&
		params.Iterations >= 1 && params.Iterations <= maxHashIterations &&
		params.Parallelism >= 1 && params.Parallelism <= maxHashParallelism &&
		params.SaltLength >= 8 && params.SaltLength <= 64 &&
		params.KeyLength >= 16 && params.KeyLength <= 128
}

// enter waits for a turn.
func (p *Passwords) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *Passwords) leave() { <-p.slots }
