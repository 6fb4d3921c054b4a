package auth_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/postrider/postrider/auth"
)

// cheap are the least parameters that are taken, so that tests are quick.
func cheap() auth.PasswordConfig {
	return auth.PasswordConfig{Memory: 19 << 10, Iterations: 2, Parallelism: 1}
}

func TestPasswords(t *testing.T) {
	t.Parallel()
	p := must(auth.NewPasswords(cheap()))
	right := auth.NewSecret("correct horse battery staple")
	hash, err := p.Hash(t.Context(), right)
	if err != nil || !strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$") || p.NeedsRehash(hash) {
		t.Fatalf("hash %q, error %v", hash, err)
	}
	if again := must(p.Hash(t.Context(), right)); again == hash {
		t.Error("two hashes of one password are equal: no salt")
	}
	never := func(context.Context, string) error {
		t.Error("upgraded without need")
		return nil
	}
	if err := p.Login(t.Context(), hash, right, never); err != nil {
		t.Errorf("right password: %v", err)
	}
	for name, c := range map[string]struct {
		hash     string
		password string
		want     error
	}{
		"wrong":            {hash, "correct horse battery stable", auth.ErrWrongPassword},
		"empty":            {hash, "", auth.ErrWrongPassword},
		"longer":           {hash, "correct horse battery staple ", auth.ErrWrongPassword},
		"huge":             {hash, strings.Repeat("x", 1<<20), auth.ErrWrongPassword},
		"unknown user":     {"", "correct horse battery staple", auth.ErrWrongPassword},
		"unknown, empty":   {"", "", auth.ErrWrongPassword},
		"unreadable":       {"$2a$10$abcdefghijklmnopqrstuv", "correct horse battery staple", auth.ErrPasswordHash},
		"no passes":        {"$argon2id$v=19$m=19456,t=0,p=1$c2FsdHNhbHRzYWx0$a2V5a2V5a2V5a2V5a2V5", "x", auth.ErrPasswordHash},
		"no lanes":         {"$argon2id$v=19$m=19456,t=1,p=0$c2FsdHNhbHRzYWx0$a2V5a2V5a2V5a2V5a2V5", "x", auth.ErrPasswordHash},
		"4 TiB":            {"$argon2id$v=19$m=4294967295,t=1,p=1$c2FsdHNhbHRzYWx0$a2V5a2V5a2V5a2V5a2V5", "x", auth.ErrPasswordHash},
		"a million passes": {"$argon2id$v=19$m=19456,t=1000000,p=1$c2FsdHNhbHRzYWx0$a2V5a2V5a2V5a2V5a2V5", "x", auth.ErrPasswordHash},
		"empty key":        {"$argon2id$v=19$m=19456,t=1,p=1$c2FsdHNhbHRzYWx0$", "x", auth.ErrPasswordHash},
		"argon2i":          {strings.Replace(hash, "argon2id", "argon2i", 1), "correct horse battery staple", auth.ErrPasswordHash},
		"plain text":       {"correct horse battery staple", "correct horse battery staple", auth.ErrPasswordHash},
	} {
		err := p.Login(t.Context(), c.hash, auth.NewSecret(c.password), never)
		if !errors.Is(err, c.want) || c.password != "x" && c.password != "" && strings.Contains(err.Error(), c.password) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestPasswordUpgrade(t *testing.T) {
	t.Parallel()
	old := must(auth.NewPasswords(cheap()))
	now := must(auth.NewPasswords(auth.PasswordConfig{Memory: 20 << 10, Iterations: 2, Parallelism: 1}))
	right := auth.NewSecret("correct horse battery staple")
	stored := must(old.Hash(t.Context(), right))
	if !now.NeedsRehash(stored) {
		t.Fatal("other parameters and no need")
	}
	upgrade := func(_ context.Context, hash string) error { stored = hash; return nil }
	if err := now.Login(t.Context(), stored, auth.NewSecret("wrong password"), upgrade); !errors.Is(err, auth.ErrWrongPassword) || !now.NeedsRehash(stored) {
		t.Errorf("wrong password: %v, stored %s", err, stored)
	}
	if err := now.Login(t.Context(), stored, right, nil); err != nil {
		t.Errorf("without upgrade: %v", err)
	}
	if err := now.Login(t.Context(), stored, right, upgrade); err != nil || now.NeedsRehash(stored) {
		t.Errorf("right password: %v, stored %s", err, stored)
	}
	if err := now.Login(t.Context(), stored, right, nil); err != nil {
		t.Errorf("with the new hash: %v", err)
	}
}

func TestNewPasswordRules(t *testing.T) {
	t.Parallel()
	p := must(auth.NewPasswords(cheap()))
	for text, want := range map[string]error{
		"short": auth.ErrPasswordShort, "123456789": auth.ErrPasswordShort, "ääääääääää": nil, "äääääääää": auth.ErrPasswordShort,
		"1234567890": nil, strings.Repeat("x", 1024): nil, strings.Repeat("x", 1025): auth.ErrPasswordLong, "0123456789\xff": auth.ErrPasswordText,
	} {
		if err := p.Check(auth.NewSecret(text)); !errors.Is(err, want) {
			t.Errorf("%.20q: %v, want %v", text, err, want)
		}
		if want != nil {
			if _, err := p.Hash(t.Context(), auth.NewSecret(text)); !errors.Is(err, want) {
				t.Errorf("Hash of %.20q: %v", text, err)
			}
		}
	}
	for name, cfg := range map[string]auth.PasswordConfig{
		"little memory": {Memory: 1024, Iterations: 10}, "one pass": {Memory: 19 << 10}, "much memory": {Memory: 2 << 20}, "many passes": {Iterations: 17},
		"lanes": {Parallelism: 17}, "negative": {MaxConcurrent: -1}, "short": {MinLength: 4}, "long": {MinLength: 1024},
	} {
		if _, err := auth.NewPasswords(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// Hashings take turns, and a caller that gives up while waiting gets its context's error.
func TestPasswordTurns(t *testing.T) {
	t.Parallel()
	cfg := cheap()
	cfg.MaxConcurrent = 1
	p := must(auth.NewPasswords(cfg))
	password := auth.NewSecret("correct horse battery staple")
	hash := must(p.Hash(t.Context(), password))
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Hash(gone, password); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	// One waits inside the upgrade of nobody: it holds no turn there, so others go on.
	other := must(auth.NewPasswords(auth.PasswordConfig{Memory: 20 << 10, Iterations: 2, MaxConcurrent: 1}))
	err := other.Login(t.Context(), hash, password, func(ctx context.Context, _ string) error {
		return other.Login(ctx, hash, password, nil)
	})
	if err != nil {
		t.Errorf("error %v", err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := p.Login(t.Context(), hash, password, nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
