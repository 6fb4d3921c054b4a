package config

import (
	"fmt"
	"io"
	"log/slog"
)

// Secret is a setting that must not be seen in logs, errors or JSON: it prints as (set) or (not set) in every format.
// Reveal gives the text. The zero Secret is not set.
type Secret struct{ text string }

// NewSecret wraps text.
func NewSecret(text string) Secret { return Secret{text} }

// Reveal returns the text, for the part of the program that it is meant for.
func (s Secret) Reveal() string { return s.text }

// IsZero reports whether there is no secret.
func (s Secret) IsZero() bool { return s.text == "" }

// String tells only whether there is one.
func (s Secret) String() string {
	if s.IsZero() {
		return "(not set)"
	}
	return "(set)"
}

// Format prints what String tells, for every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// LogValue logs what String tells.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText writes what String tells, also into JSON.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
