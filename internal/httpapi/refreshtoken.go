package httpapi

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"strings"

	"github.com/google/uuid"

	"github.com/postrider/postrider/auth"
)

// A refresh token is refreshPrefix and then, in base32, its tenant's id and 256 random bits. The tenant is in it so that
// it can be looked up under row-level security; it counts only as part of the text whose hash is stored. It begins
// like an API key, so that one sent as a credential is refused as such and not read as a token.
const (
	refreshPrefix = "pr_refresh_"
	refreshSecret = 32
	refreshSize   = 16 + refreshSecret
)

func refreshEncoding() *base32.Encoding {
	return base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
}

// newRefreshToken makes a refresh token and the hash to be stored.
func newRefreshToken(tenant uuid.UUID) (text string, hash auth.KeyHash) {
	raw := make([]byte, refreshSize)
	copy(raw, tenant[:])
	_, _ = rand.Read(raw[16:]) // never fails (crypto/rand)
	text = refreshPrefix + refreshEncoding().EncodeToString(raw)
	return text, sha256.Sum256([]byte(text))
}

// parseRefreshToken reads the tenant that a refresh token says it is of, and its hash. It proves nothing.
func parseRefreshToken(text string) (tenant uuid.UUID, hash auth.KeyHash, ok bool) {
	encoded, ok := strings.CutPrefix(text, refreshPrefix)
	if !ok {
		return uuid.Nil, hash, false
	}
	raw, err := refreshEncoding().DecodeString(encoded)
	if err != nil || len(raw) != refreshSize {
		return uuid.Nil, hash, false
	}
	tenant = uuid.UUID(raw[:16])
	return tenant, sha256.Sum256([]byte(text)), tenant != uuid.Nil
}
