package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"strings"

	"github.com/postrider/postrider/auth"
	"github.com/postrider/postrider/internal/store"
)

// passwordFlag says which password a new account has.
type passwordFlag struct {
	PasswordFile string `group:"run" placeholder:"FILE" default:"generated" help:"Read the password from the first line of FILE; - is standard input; generated makes one and prints it. Default: generated."`
}

// password reads or makes a password. show is true for one that its owner has not seen yet.
func (f *passwordFlag) password(p *program) (password auth.Secret, show bool, err error) {
	if f.PasswordFile == "generated" {
		return auth.NewSecret(generatePassword()), true, nil
	}
	text, err := readPassword(p, f.PasswordFile)
	return auth.NewSecret(text), false, err
}

// readPassword reads the first line of a file; - is standard input.
func readPassword(p *program, file string) (string, error) {
	var text []byte
	var err error
	if file == "-" {
		if text, err = io.ReadAll(io.LimitReader(p.stdin, 1<<16)); err != nil {
			return "", fmt.Errorf("the password cannot be read: %w", err)
		}
	} else if text, err = readSmallFile(file); err != nil {
		return "", usagef("--password-file: %w", err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return strings.TrimSuffix(line, "\r"), nil
}

// generatePassword makes 24 characters in groups of 4, of 32 that are not taken for each other: 120 bits.
func generatePassword() string {
	octets := make([]byte, 24)
	rand.Read(octets) // never fails
	const letters = "abcdefghijkmnpqrstuvwxyz23456789"
	var b strings.Builder
	for i, o := range octets {
		if i > 0 && i%4 == 0 {
			b.WriteByte('-')
		}
		b.WriteByte(letters[int(o)%len(letters)]) // 32 divides 256: each is as likely as the others
	}
	return b.String()
}

// hashPassword checks a new password and hashes it.
func hashPassword(ctx context.Context, password auth.Secret) (string, error) {
	passwords, err := auth.NewPasswords(auth.PasswordConfig{})
	if err != nil {
		return "", err
	}
	if err := passwords.Check(password); err != nil {
		return "", &exitError{exitInvalid, fmt.Errorf("%s", strings.TrimPrefix(err.Error(), "auth: "))}
	}
	return passwords.Hash(ctx, password)
}

// account is a new tenant with its admin, as it is told to who made it: once.
type account struct {
	TenantID    string `json:"tenant_id"`
	UserID      string `json:"user_id"`
	Password    string `json:"password"` // empty if it was given
	APIKey      string `json:"api_key"`
	OperatorKey string `json:"operator_key,omitempty"`

	email, name string
}

// createAccount makes a tenant, its first admin and the admin's first API key.
func createAccount(p *program, s *store.Store, name, email string, flag *passwordFlag, by store.Actor) (*account, error) {
	password, show, err := flag.password(p)
	if err != nil {
		return nil, err
	}
	hash, err := hashPassword(p.ctx, password)
	if err != nil {
		return nil, err
	}
	tenant := store.NewID()
	key, err := auth.GenerateAPIKey(tenant, false)
	if err != nil {
		return nil, err
	}
	record, admin, err := s.Operator().CreateTenant(p.ctx, store.NewTenant{
		ID: tenant, Name: name,
		Admin: store.NewUser{Email: email, Role: auth.RoleAdmin, PasswordHash: hash},
		Key:   &store.NewAPIKey{ID: key.ID(), Name: "first key", Role: auth.RoleAdmin, Scope: auth.ScopeFull, Hash: key.Hash()},
	}, by)
	if err != nil {
		return nil, err
	}
	a := &account{TenantID: record.ID.String(), UserID: admin.ID.String(), APIKey: key.Reveal(), email: email, name: name}
	if show {
		a.Password = password.Reveal()
	}
	return a, nil
}

// print tells of a new account.
func (a *account) print(w io.Writer) {
	fmt.Fprintf(w, "tenant    %s (%s)\nadmin     %s (%s)\n", a.name, a.TenantID, a.email, a.UserID)
	if a.Password != "" {
		fmt.Fprintf(w, "password  %s\n", a.Password)
	}
	fmt.Fprintf(w, "API key   %s\n", a.APIKey)
}
