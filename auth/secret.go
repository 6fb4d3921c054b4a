package auth

import (
	"fmt"
	"io"
	"log/slog"
)

// redacted is what a secret prints as.
const redacted = "[redacted]"

// Secret is text that must not be seen in logs, errors or JSON: it prints as [redacted] in every format. Reveal
// gives the text. The zero Secret is empty.
type Secret struct{ text string }

// NewSecret wraps text.
func NewSecret(text string) Secret { return Secret{text} }

// Reveal returns the text, to be handed to its owner or to be checked.
func (s Secret) Reveal() string { return s.text }

// IsZero reports whether the secret is empty.
func (s Secret) IsZero() bool { return s.text == "" }

// Format prints [redacted] for every verb.
func (s Secret) Format(f fmt.State, _ rune) { redact(f) }

// String returns [redacted].
func (s Secret) String() string { return redacted }

// LogValue logs [redacted].
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText writes [redacted], also into JSON.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

func redact(w io.Writer) { _, _ = io.WriteString(w, redacted) }
